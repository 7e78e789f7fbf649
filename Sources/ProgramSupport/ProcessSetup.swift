internal import Posix

/// What both programs do to their process before they start a node.
package enum ProcessSetup {
    /// Makes broken pipes an error, raises the limit on descriptors (every mirror and flow is one), and keeps freed
    /// memory for the next burst.
    package static func prepare() {
        ThisProcess.ignoreBrokenPipes()
        ThisProcess.raiseDescriptorLimit()
        Memory.keepFreed()
    }

    /// Keeps the key, which stays in memory for the next handshake, from core dumps and from other programs of this user.
    /// Part of the sandbox: who wants to debug runs without it.
    package static func hideMemory(_ isSandboxed: Bool) {
        // No kernel is known to refuse. Without it the key is as safe as its file.
        if isSandboxed { try? Memory.hide() }
    }
}
