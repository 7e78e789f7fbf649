import CFuzzer
import Glibc

/// What a fuzzer does with one input. It traps when it finds something.
typealias FuzzTarget = (_ input: [UInt8]) -> Void

nonisolated(unsafe) private var current: FuzzTarget = { _ in }

private func feed(_ data: UnsafePointer<UInt8>?, _ size: Int) -> Int32 {
    current(Array(UnsafeBufferPointer(start: data, count: size)))
    return 0
}

/// `Fuzzers TARGET [libFuzzer's arguments]`.
@main
enum Fuzzers {
    private static var targets: [String: () -> FuzzTarget] {
        [
            "frames": { fuzzFrames }, "session": { fuzzSession }, "cipher": { fuzzCipher },
            "proof": { fuzzProof },
            "tables": { fuzzTables }, "settings": { fuzzSettings }, "control": makeControlTarget,
        ]
    }

    static func main() {
        var arguments = CommandLine.arguments
        guard arguments.count > 1, let make = targets[arguments[1]] else {
            print("Fuzzers \(targets.keys.sorted().joined(separator: "|")) [-runs=N] [CORPUS…]")
            exit(2)
        }
        current = make()
        arguments.remove(at: 1)
        var count = Int32(arguments.count)
        var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        let code = pointers.withUnsafeMutableBufferPointer { buffer in
            var base = buffer.baseAddress
            return withUnsafeMutablePointer(to: &base) { pointer in
                pointer.withMemoryRebound(
                    to: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?.self, capacity: 1
                ) { LLVMFuzzerRunDriver(&count, $0, feed) }
            }
        }
        exit(code)
    }
}

/// A finding.
func require(_ condition: Bool, _ what: @autoclosure () -> String) {
    if !condition { fatalError(what()) }
}
