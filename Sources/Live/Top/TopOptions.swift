package import Control
package import Reports

/// How `top` was asked to run.
package struct TopOptions: Sendable {
    /// Whom it asks.
    package var client: ControlClient
    /// The guest that it is about, of several; nil: all.
    package var guest: String?
    /// How often, in milliseconds.
    package var interval: UInt64
    /// After how many samples it ends; nil: when it is told to.
    package var count: Int?
    /// What is shown at the beginning.
    package var state: TopState
    /// Whether colours are wanted.
    package var isColoured = false
    /// Whether the terminal knows how to move its cursor.
    package var hasScreen = false
    /// How many columns lines may have where there is no screen; nil: any.
    package var columns: Int?
    /// What `explain` needs to know beside the listeners.
    package var outlook: @Sendable (StatusReport) -> [Outlook]

    /// Asks one helper at some pace.
    package init(
        _ client: ControlClient, interval: UInt64, state: TopState,
        outlook: @escaping @Sendable (StatusReport) -> [Outlook]
    ) {
        self.client = client
        self.interval = interval
        self.state = state
        self.outlook = outlook
    }
}
