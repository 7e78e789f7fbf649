import Testing

@testable import LogLines

@Suite struct LineLogHandlerTests {
    @Test(arguments: [
        ("plain", "plain"), ("two words", "\"two words\""), ("", "\"\""), ("a=b", "\"a=b\""),
        ("q\"q\\", "\"q\\\"q\\\\\""), ("line\nbreak", "\"line\\nbreak\""),
        ("\u{1b}[2J", "\"?[2J\""),
    ]) func `values are quoted where they must be`(value: String, written: String) {
        #expect(LineLogHandler.quoted(value) == written)
    }

    @Test(arguments: [
        (0, "1970-01-01T00:00:00.007Z"), (951_782_400, "2000-02-29T00:00:00.007Z"),
        (1_795_478_399, "2026-11-23T23:59:59.007Z"), (4_102_444_800, "2100-01-01T00:00:00.007Z"),
    ]) func `times are dates`(seconds: Int, text: String) {
        #expect(Timestamp.text(seconds: seconds, milliseconds: 7) == text)
    }
}
