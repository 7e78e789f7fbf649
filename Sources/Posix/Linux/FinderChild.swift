#if os(Linux)
    internal import CKernel
    internal import Glibc

    extension ThisProcess {
        /// The two sides of a fork.
        package enum Side {
            /// This is the child; its pipe to the parent is all that it has.
            case child(PacketPipe)
            /// This is the parent; its pipe to the child.
            case parent(PacketPipe)
        }

        /// Splits off a child that ends with this process and has no descriptor but a pipe to it. Call it while there is
        /// one thread.
        ///
        /// - Returns: Nil when the kernel refuses.
        package static func splitOff(_ name: String) -> Side? {
            var socket: Int32 = -1
            let child = unsafe ckernel_fork_finder(name, &socket)
            guard child >= 0 else { return nil }
            let pipe = PacketPipe(OwnedFD(taking: socket))
            return child == 0 ? .child(pipe) : .parent(pipe)
        }

        /// Waits until the child has ended.
        package static func awaitChild() {
            _ = try? retrying("wait") { wait(nil) }
        }

        /// Takes note of a child's end, so that the kernel forgets it.
        package static func forgetEndedChildren() {
            while waitpid(-1, nil, WNOHANG) > 0 {}
        }
    }

    /// The folder of a hierarchy of control groups (cgroups(7)).
    package struct ControlGroupFolder: ~Copyable {
        private let folder: OwnedFD

        /// Opens it where no mount hides it, which takes root; otherwise where it usually is.
        ///
        /// - Parameter hierarchy: As `/proc/PID/cgroup` names it, empty for version 2.
        package init?(hierarchy: String) {
            var raw = unsafe ckernel_open_groups(hierarchy)
            if raw < 0 { raw = Self.mounted(hierarchy) }
            guard raw >= 0 else { return nil }
            folder = OwnedFD(taking: raw)
        }

        private static func mounted(_ hierarchy: String) -> Int32 {
            let top = "/sys/fs/cgroup"
            var paths = ["\(top)/\(hierarchy.replacing("name=", with: ""))"]
            if hierarchy.isEmpty { paths = [top, "\(top)/unified"] }
            for path in paths where hasGroups(path) {
                return unsafe open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
            }
            return -1
        }

        private static func hasGroups(_ path: String) -> Bool {
            SystemFiles.owner(of: "\(path)/cgroup.procs") != nil
        }

        /// The owner and mode of the group at a relative path; nil when there is none.
        package borrowing func owner(of path: String) -> (user: UInt32, mode: UInt32)? {
            var user: UInt32 = 0
            var mode: UInt32 = 0
            let status = unsafe ckernel_folder_owner(folder.raw, path, &user, &mode)
            return status == 0 && mode & S_IFMT == S_IFDIR ? (user, mode & 0o7777) : nil
        }
    }
#endif
