import Foundation
import Testing

extension EndToEnd {
    /// The vsock backend's half of a virtqueue, against a process that reads it as a guest would.
    @Suite struct Rings {
        @Test func `a guest never sees an index that was not written`() throws {
            let seen = try Lab.shell(
                "python3 \(Lab.program("ring.py")) \(VirtualMachine.top)/vm/lib/device 2")
            let words = seen.split(whereSeparator: \.isWhitespace)
            try #require(words.count == 4 && words[0] == "seen")
            #expect(try #require(Int(words[1])) > 100_000, "\(seen)")
            #expect(words[3] == "0", "\(seen)")
        }

        @Test(arguments: [
            ("silent", "answered"), ("leaver", "reset"),
        ])
        func `callers that say nothing, or leave early, cost the others nothing`(
            behaviour: String, answer: String
        ) throws {
            let folder = "/tmp/twinport-backend-\(getpid())-\(behaviour)"
            let said = try Lab.shell(
                "mkdir -m 700 \(folder); trap 'rm -rf \(folder)' EXIT; "
                    + "python3 \(Lab.program("backend.py")) "
                    + "\(VirtualMachine.top)/vm/lib/device/vsock-backend.py \(folder) \(behaviour)"
            )
            #expect(said == "\(answer)\n")
        }
    }
}
