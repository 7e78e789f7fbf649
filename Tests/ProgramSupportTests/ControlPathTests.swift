import Foundation
import ProgramSupport
import Testing

@Suite struct ControlPathTests {
    private func problem(_ path: String) -> String? {
        do {
            _ = try ControlPath.absolute(path)
            return nil
        } catch {
            return error.description
        }
    }

    @Test func `a relative path begins at the working folder`() throws {
        #expect(try ControlPath.absolute("/run/a.sock") == "/run/a.sock")
        let here = FileManager.default.currentDirectoryPath
        #expect(try ControlPath.absolute("a.sock") == "\(here)/a.sock")
        #expect(try ControlPath.absolute("../b/a.sock") == "\(here)/../b/a.sock")
    }

    @Test func `a path that no socket can have is refused in one line`() {
        let longest = "/" + String(repeating: "x", count: 106)
        #expect(problem(longest) == nil)
        #expect(
            problem(longest + "x")?.hasSuffix("107 bytes at most, and this one has 108") == true)
        #expect(problem("") == "--control: expected a path")
    }
}
