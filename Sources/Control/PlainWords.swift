internal import NIOCore
internal import NIOHTTP1
internal import Posix

/// Errors in words for people. A library's own words are about its insides.
enum PlainWords {
    /// What went wrong, without the name of a type or function.
    static func text(_ error: any Error) -> String {
        switch error {
        case let error as IOError: SystemError.text(of: error.errnoCode)
        case let error as SystemError: error.description
        case let error as ControlError: error.description
        case let error as Silence: error.description
        case is HTTPParserError, is NIOHTTPDecoderError: "its answer is not HTTP"
        case is NIOHTTPObjectAggregatorError: "its answer is too long"
        case ChannelError.connectTimeout: "the connection took too long"
        default: "the connection broke"
        }
    }
}

/// The helper closed the connection, or said nothing for so long.
struct Silence: Error, CustomStringConvertible {
    let description: String
}
