import Foundation
import Testing

@testable import ProgramSupport

@Suite struct LineLogHandlerTests {
    @Test(arguments: [
        ("plain", "plain"), ("two words", "\"two words\""), ("", "\"\""), ("a=b", "\"a=b\""),
        ("q\"q\\", "\"q\\\"q\\\\\""), ("line\nbreak", "\"line\\nbreak\""),
        ("\u{1b}[2J", "\"?[2J\""),
    ]) func `values are quoted where they must be`(value: String, written: String) {
        #expect(LogStyle.quoted(value) == written)
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.007Z"), (951_782_400, "2000-02-29T00:00:00.007Z"),
        (1_795_478_399, "2026-11-23T23:59:59.007Z"), (4_102_444_800, "2100-01-01T00:00:00.007Z"),
    ]) func `times are dates`(seconds: Int, text: String) {
        #expect(Timestamp.text(seconds: seconds, milliseconds: 7) == text)
    }

    private let pairs = [
        (key: "listener", value: "0.0.0.0:80"), (key: "why", value: "a \"b\"\n\u{1b}[2J"),
    ]

    @Test func `each format has the same pairs, and one line`() throws {
        let logfmt = LogStyle().line(.warning, "a mirror", pairs, time: "T")
        #expect(
            logfmt
                == "time=T level=warning msg=\"a mirror\" listener=0.0.0.0:80 why=\"a \\\"b\\\"\\n?[2J\""
        )
        let json = LogStyle(format: .json).line(.warning, "a mirror", pairs, time: "T")
        #expect(!json.contains("\n") && !json.contains("\u{1b}"))
        let read = try JSONDecoder().decode([String: String].self, from: Data(json.utf8))
        #expect(
            read == [
                "time": "T", "level": "warning", "msg": "a mirror", "listener": "0.0.0.0:80",
                "why": "a \"b\"\n\u{1b}[2J",
            ])
    }

    @Test func `the journal gets priorities, and no time`() {
        func start(_ level: String, _ format: LogFormat) -> String {
            LogStyle(format: format, isForJournal: true)
                .line(.init(rawValue: level)!, "m", [], time: "T")
        }
        for (level, priority) in [
            ("trace", 7), ("debug", 7), ("info", 6), ("notice", 5), ("warning", 4), ("error", 3),
            ("critical", 2),
        ] {
            #expect(start(level, .logfmt) == "<\(priority)>level=\(level) msg=m")
            #expect(start(level, .json) == "<\(priority)>{\"level\":\"\(level)\",\"msg\":\"m\"}")
        }
    }

    @Test func `a line that is too long is still whole JSON`() throws {
        let long = String(repeating: "ü", count: 9_000)
        let many = (0..<9).map { (key: "key\($0)", value: long) }
        let json = LogStyle(format: .json).line(.info, long, many, time: "T")
        #expect(json.utf8.count <= 4_096)
        let read = try JSONSerialization.jsonObject(with: Data(json.utf8)) as? [String: Any]
        #expect(read?["cut"] as? Bool == true && read?["level"] as? String == "info")
        #expect(LogStyle().line(.info, long, many, time: "T").utf8.count <= 4_096)
    }
}
