import Control
import Testing

@Suite struct ServerSentEventTests {
    private let events = [
        ServerSentEvent(id: "1", event: "port", data: #"{"a":"b: c"}"#),
        ServerSentEvent(id: "2", event: "gap", data: "{}"),
    ]

    @Test func `events are read in whatever pieces they come`() {
        let text =
            ServerSentEvent.beginning + events[0].text + ServerSentEvent.keepAlive
            + events[1].text
        let bytes = Array(text.utf8)
        for cut in 0...bytes.count {
            var parser = ServerSentEventParser()
            let read = (parser.read(bytes[..<cut]) ?? []) + (parser.read(bytes[cut...]) ?? [])
            #expect(read == events)
        }
    }

    @Test func `line ends of other systems and data over several lines are read`() {
        var parser = ServerSentEventParser()
        let read = parser.read("id:7\r\ndata: one\r\ndata: two\r\n\r\nevent: none\r\n\r\n".utf8)
        #expect(read == [ServerSentEvent(id: "7", event: "", data: "one\ntwo")])
    }

    @Test func `a line without end is no event`() {
        var parser = ServerSentEventParser()
        #expect(parser.read(repeatElement(UInt8(ascii: "x"), count: 2 << 20)) == nil)
    }
}
