import Foundation
import Testing

extension EndToEndInVM {
    /// Two VMs at one helper, as `vm/up --name` boots them.
    @Suite(.serialized, .vm("--name web", memory: "256M")) struct TwoMachines {
        private let vm: VirtualMachine

        init() throws { vm = try VirtualMachine.booted() }

        @Test func `two VMs have the same port, each at an address of its own`() throws {
            let up = try vm.host(
                "TWINPORT_VM_MEMORY=256M \(VirtualMachine.top)/vm/up --no-build --name db",
                within: 200)
            #expect(up.code == 0, "\(up)")
            #expect(try vm.status().guests.map(\.name) == ["web", "db"])
            for (name, address) in [("web", "127.0.1.2"), ("db", "127.0.1.3")] {
                let server = try vm.start(
                    "exec \(VirtualMachine.exec) --name \(name) nc -l 0.0.0.0 8000")
                try vm.wait("the server in \(name) to hear its client", within: 30) {
                    _ = try vm.host("echo for \(name) | nc -N -w 1 \(address) 8000")
                    return server.output.contains("for \(name)")
                }
            }
            let down = try vm.host("\(VirtualMachine.top)/vm/down --name db")
            #expect(down.code == 0, "\(down)")
            try vm.wait("one guest less") { try vm.status().guests.map(\.name) == ["web"] }
            #expect(try vm.status().session == .up)
        }
    }
}
