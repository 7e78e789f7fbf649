#if os(Linux)
    internal import CKernel
    internal import Glibc

    extension Sandbox {
        // capabilities(7), by number.
        private static let chown: UInt64 = 0
        private static let dacOverride: UInt64 = 1
        private static let fileOwner: UInt64 = 3
        private static let setGroup: UInt64 = 6
        private static let setUser: UInt64 = 7
        private static let dacReadSearch: UInt64 = 2
        private static let netBindService: UInt64 = 10
        private static let netAdmin: UInt64 = 12
        private static let sysPtrace: UInt64 = 19

        /// What the program gives up, in order.
        static func steps(_ needs: Needs) -> [Step] {
            // NET_BIND_SERVICE for ports below 1024, NET_ADMIN to be told of closed sockets.
            var kept = [netBindService, netAdmin]
            if needs.reachesForeignSockets { kept.append(dacOverride) }
            if needs.readsForeignFiles { kept.append(dacReadSearch) }
            return [
                Step(
                    filesWord,
                    without: "removing files, sockets in other folders, reading the memory of "
                        + "other processes of this user"
                ) { forbidWriting(besides: needs.socketFolders) },
                capabilities(kept),
                Step("seccomp") { ckernel_deny_calls(0) },
            ]
        }

        /// What the finder gives up (``FinderProcess`` in Listeners): all but looking into processes and reading files.
        package static func enterAsFinder() {
            // Where the kernel refuses there is nobody to tell.
            _ = capabilities([dacReadSearch, sysPtrace]).take()
            _ = ckernel_deny_calls(1)
        }

        /// What the opener gives up (``OpenerProcess`` in Sockets): all but making sockets and their folders, and reaching
        /// sockets, as any user.
        package static func enterAsOpener() {
            _ = capabilities([chown, dacOverride, fileOwner, setGroup, setUser]).take()
            _ = ckernel_deny_calls(2)
        }

        private static func capabilities(_ kept: [UInt64]) -> Step {
            Step("capabilities") {
                ckernel_keep_capabilities(kept.reduce(UInt64(0)) { $0 | 1 << $1 })
            }
        }

        private static func forbidWriting(besides folders: [String]) -> Int32 {
            var names = unsafe folders.map { unsafe UnsafePointer(strdup($0)) }
            defer { unsafe names.forEach { unsafe free(UnsafeMutablePointer(mutating: $0)) } }
            return unsafe ckernel_forbid_writing(&names, names.count)
        }

        /// What only this system can try.
        static var systemAttempts: [Step] {
            [
                Step("make a namespace") { ckernel_try_namespace() },
                Step("read another process's memory") {
                    let raw = unsafe open("/proc/\(getppid())/mem", O_RDONLY | O_CLOEXEC)
                    return raw < 0 ? -1 : close(raw)
                },
            ]
        }
    }
#endif
