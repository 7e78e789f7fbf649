#if os(Linux)
    internal import Posix

    extension OtherProcess {
        /// The lowest port that needs no privilege; nil where that is not known.
        package static var firstFreePort: Int? {
            number(in: SystemFiles.text("/proc/sys/net/ipv4/ip_unprivileged_port_start"))
        }

        private static func number(in text: String?) -> Int? {
            guard let word = text?.split(whereSeparator: \.isWhitespace).first else { return nil }
            return Int(word)
        }

        /// Whether it has CAP_NET_BIND_SERVICE; nil where that cannot be seen.
        package var bindsLowPorts: Bool? {
            guard let text = line("CapEff:", of: "status"), let set = UInt64(text, radix: 16)
            else { return nil }
            return set & 1 << 10 != 0
        }

        /// How many descriptors it may have; nil where that cannot be seen.
        package var descriptorLimit: Int? {
            line("Max open files", of: "limits").flatMap { Int($0) }
        }

        /// The first word behind `label` in a file of proc(5).
        private func line(_ label: String, of file: String) -> String? {
            let lines = SystemFiles.text("/proc/\(pid)/\(file)")?.split(separator: "\n") ?? []
            let rest = lines.first { $0.hasPrefix(label) }?.dropFirst(label.count)
            return rest?.split(whereSeparator: \.isWhitespace).first.map(String.init)
        }
    }
#endif
