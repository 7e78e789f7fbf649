import EventLoop
import Posix
import Testing

@testable import ProgramSupport

/// A standard error that takes nothing until it is told to.
private final class StuckPipe: Sendable {
    private let state = Locked((isOpen: false, text: ""))

    var text: String { state.withLock { $0.text } }
    func open() { state.withLock { $0.isOpen = true } }

    func write(_ bytes: [UInt8]) {
        while !state.withLock({ $0.isOpen }) { ThisProcess.pause(milliseconds: 1) }
        state.withLock { $0.text += String(decoding: bytes, as: UTF8.self) }
    }
}

@Suite struct LogWriterTests {
    @Test func `nobody waits for a log that nobody reads, and what was lost is told`() throws {
        let pipe = StuckPipe()
        let writer = LogWriter { pipe.write($0) }
        let line = String(repeating: "x", count: 99)
        let took = ContinuousClock().measure {
            for number in 0..<10_000 { writer.add("\(number) \(line)") }
            writer.finish()
        }
        #expect(took < .seconds(3) && pipe.text.isEmpty)
        pipe.open()
        for _ in 0..<500 where !pipe.text.contains("dropped") {
            ThisProcess.pause(milliseconds: 10)
        }
        writer.add("after")
        writer.finish()
        let lines = pipe.text.split(separator: "\n")
        let kept = lines.count - 2
        #expect(kept * 104 > LogWriter.room / 2 && kept * 100 < LogWriter.room + 8_192)
        for number in 0..<kept { #expect(lines[number] == "\(number) \(line)") }
        #expect(lines[kept].hasSuffix("msg=\"log lines dropped\" times=\(10_000 - kept)"))
        #expect(lines.last == "after")
    }
}
