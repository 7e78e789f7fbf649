import Foundation

extension Running {
    /// How many descriptors the program has open.
    var descriptors: Int {
        ((try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")) ?? []).count
    }

    /// How many it has open once that is the same for half a second: a program that just started still opens its tables.
    var settledDescriptors: Int {
        var last = descriptors
        var looks = 0
        for _ in 0..<200 where looks < 10 {
            usleep(50_000)
            looks = descriptors == last ? looks + 1 : 0
            last = descriptors
        }
        return last
    }

    /// The program's resident memory in MiB.
    var residentMiB: Double {
        let text = (try? String(contentsOfFile: "/proc/\(pid)/statm", encoding: .utf8)) ?? ""
        let pages = text.split(separator: " ").dropFirst().first.flatMap { Double($0) } ?? 0
        return pages * Double(sysconf(Int32(_SC_PAGESIZE))) / 1_048_576
    }
}

extension Lab {
    /// The inode of a machine's listening socket on an IPv4 loopback port, nil without one.
    func inode(_ machine: Machine, _ port: Int) throws -> String? {
        let hex = String(port, radix: 16, uppercase: true)
        return try sh(machine, "grep '0100007F:\(hex) 00000000:0000 0A' /proc/net/tcp").output
            .split(separator: " ").dropFirst(9).first.map(String.init)
    }

    /// Whether an echo works, right now.
    func echoes(_ client: Machine, _ port: Int, _ address: String = "127.0.0.1") -> Bool {
        (try? script(client, "tcp_client.py", [address, "\(port)", "echo"], within: 8)) != nil
    }

    /// Whether a UDP echo works, right now.
    func echoesUDP(_ client: Machine, _ port: Int, _ address: String = "127.0.0.1") -> Bool {
        (try? script(client, "udp_client.py", [address, "\(port)", "5"], within: 8)) != nil
    }
}
