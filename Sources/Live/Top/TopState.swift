internal import TwinportModel

// What somebody who looks at `top` has chosen. Pure: keys in, choices out.

/// What is shown.
package struct TopState: Sendable {
    /// What fills the screen.
    enum View: Equatable, Sendable {
        case ports
        case flows
        case help
        /// `explain`'s text of one listener.
        case explanation(ListenerKey)
    }

    /// What a key asks of the program.
    enum Wish: Equatable {
        case quit
        case redraw
    }

    private(set) var view = View.ports
    private(set) var order: TopOrder
    private(set) var isReversed = false
    /// What rows must have; empty: all are shown.
    private(set) var filter: String
    /// Whether keys go into the filter.
    private(set) var isTyping = false
    /// Whether the screen stands still.
    private(set) var isPaused = false
    /// The row that the cursor is on.
    private(set) var cursor = 0
    /// The first row that is shown.
    private(set) var offset = 0
    /// Where help and explanations go back to.
    private var last = View.ports
    /// What the filter was before somebody began to type.
    private var filterBefore = ""

    /// The beginning.
    package init(order: TopOrder = .rate, filter: String = "") {
        self.order = order
        self.filter = filter
    }

    /// Takes a key.
    ///
    /// - Parameter selected: The listener under the cursor.
    mutating func press(_ key: Key, selected: ListenerKey?) -> Wish? {
        if key == .redraw { return .redraw }
        if isTyping {
            type(key)
            return nil
        }
        if move(key) { return nil }
        switch key {
        case .character("q"):
            guard !isList else { return .quit }
            goBack()
        case .escape: if isList { setFilter("") } else { goBack() }
        case .enter, .character("e"):
            if view == .ports, let selected { open(.explanation(selected)) } else { goBack() }
        case .character("?"), .character("h"): if view == .help { goBack() } else { open(.help) }
        case .character(let letter): if isList { choose(letter) }
        case .tab: if isList { choose("f") }
        default: break
        }
        return nil
    }

    private var isList: Bool { view == .ports || view == .flows }

    private mutating func choose(_ letter: Character) {
        switch letter {
        case "p": show(.ports)
        case "f": show(view == .flows ? .ports : .flows)
        case "s": order = order.next
        case "r": isReversed.toggle()
        case " ": isPaused.toggle()
        case "/": (isTyping, filterBefore) = (true, filter)
        default: break
        }
    }

    private mutating func show(_ list: View) {
        view = list
        (cursor, offset) = (0, 0)
    }

    private mutating func open(_ overlay: View) {
        if isList { last = view }
        view = overlay
        offset = 0
    }

    private mutating func goBack() {
        guard !isList else { return }
        view = last
        offset = 0
    }

    private mutating func type(_ key: Key) {
        switch key {
        case .enter: isTyping = false
        case .escape:
            isTyping = false
            setFilter(filterBefore)
        case .backspace:
            // Without anything to take back it ends.
            if filter.isEmpty { isTyping = false } else { setFilter(String(filter.dropLast())) }
        case .clear: setFilter("")
        case .character(let character): if filter.count < 200 { setFilter(filter + [character]) }
        default: _ = move(key)
        }
    }

    private mutating func setFilter(_ text: String) {
        filter = text
        (cursor, offset) = (0, 0)
    }

    /// Whether a key moves the cursor, or a text.
    private mutating func move(_ key: Key) -> Bool {
        let step =
            switch key {
            case .up, .character("k"): -1
            case .down, .character("j"): 1
            case .pageUp: -10
            case .pageDown: 10
            case .home, .character("g"): -1_000_000
            case .end, .character("G"): 1_000_000
            default: 0
            }
        guard step != 0 else { return false }
        if isList {
            cursor = max(0, cursor + step)
        } else {
            offset = max(0, offset + step)
        }
        return true
    }

    /// Keeps cursor and offset within so many rows, of which so many fit.
    mutating func settle(rows: Int, room: Int) {
        if !isList {
            offset = max(0, min(offset, rows - room))
            return
        }
        cursor = max(0, min(cursor, rows - 1))
        offset = max(0, min(offset, cursor, rows - room))
        if cursor >= offset + room { offset = cursor - room + 1 }
    }
}
