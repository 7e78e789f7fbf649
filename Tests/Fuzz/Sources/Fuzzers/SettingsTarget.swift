import Settings

// The settings file. What is understood can be written out and understood again the same.

func fuzzSettings(_ input: [UInt8]) {
    let text = String(decoding: input, as: UTF8.self)
    do throws(SettingsError) {
        let settings = try SettingsFile.decode(text, file: "/f")
        let again = try SettingsFile.decode(SettingsText.text(settings), file: "/f")
        var expected = settings
        // Said in full, the default has a name.
        if expected.tunnel == nil { expected.tunnel = again.tunnel }
        require(again == expected, "\(text)\n\(settings)\n\(again)")
    } catch {
        require(!error.problem.isEmpty && error.line >= 0 && error.column >= 0, "\(error)")
    }
}
