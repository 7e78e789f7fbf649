/// Where mirrors of wildcard listeners are bound. Raw values are the settings'.
public enum WildcardBind: String, Hashable, Sendable, CaseIterable {
    /// Of listeners in containers as ``same``, of all others as ``loopback``.
    case auto
    /// On the same wildcard: other machines reach them.
    case same
    /// On loopback only.
    case loopback

    /// What holds of a listener's mirrors: never ``auto``. A listener counts as the machine's own until its container
    /// is known, so nothing is shown to other machines first and hidden afterwards.
    package func resolved(inContainer: Bool) -> WildcardBind {
        self == .auto ? (inContainer ? .same : .loopback) : self
    }
}
