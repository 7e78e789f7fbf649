import Testing

@testable import Noise

private func bytes(_ hex: String) -> [UInt8] {
    stride(from: 0, to: hex.utf8.count, by: 2).map { offset in
        let start = hex.index(hex.startIndex, offsetBy: offset)
        return UInt8(hex[start..<hex.index(start, offsetBy: 2)], radix: 16)!
    }
}

private let prologue = Array("here".utf8)

@Suite struct HandshakeTests {
    /// The vector of the cacophony collection for this protocol: payload and ciphertext of each message.
    private let vector = [
        (
            "4c756477696720766f6e204d69736573",
            "ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c79447c37a89fc17813788d30df2d"
                + "59501d6066f5f8aecc3406bbd9829f2d24a531b1"
        ),
        (
            "4d757272617920526f746862617264",
            "95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088432f29d79368ef9de4e1ae7a36"
                + "2fb05bf0ad668e026bf5714554497b3a720461"
        ),
        ("462e20412e20486179656b", "7c01e898a6201f36aecee532e29cd0b7f8ffa29d3366ad0dce39a6"),
        ("4361726c204d656e676572", "a9ff535aace3db6a1da1a7fb00fe2de2622bb373abad9fb42c00e0"),
        (
            "4a65616e2d426170746973746520536179",
            "6cfc49a3e65472edc2d0152abe5ce950170a8a47c959f30bd48b5f0aacf29adbfd"
        ),
        (
            "457567656e2042f6686d20766f6e2042617765726b",
            "9bc86e6d974ed21ba04604a94aa68de21677eb409ead070c0cd569b069ee19ba142aa4c1a9"
        ),
    ]

    @Test func `the published vector of Noise_NNpsk0_25519_AESGCM_SHA256`() throws {
        let psk = bytes("54686973206973206d7920417573747269616e20706572737065637469766521")
        let prologue = bytes("4a6f686e2047616c74")
        var initiator = try HandshakeState(
            key: psk, prologue: prologue,
            fixedEphemeral: bytes(
                "893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a"))
        var responder = try HandshakeState(
            key: psk, prologue: prologue,
            fixedEphemeral: bytes(
                "bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b"))
        let messages = vector.map { (payload: bytes($0.0), ciphertext: bytes($0.1)) }
        let first = try initiator.writeFirst(messages[0].payload)
        #expect(first == messages[0].ciphertext)
        var server = try responder.answer(first[...], payload: messages[1].payload)
        #expect(server.payload == messages[0].payload && server.answer == messages[1].ciphertext)
        var client = try initiator.readSecond(server.answer[...])
        #expect(client.payload == messages[1].payload)
        for (index, message) in messages.enumerated().dropFirst(2) {
            if index % 2 == 0 {
                #expect(try client.send.encrypt(message.payload) == message.ciphertext)
                #expect(try server.receive.decrypt(message.ciphertext[...]) == message.payload)
            } else {
                #expect(try server.send.encrypt(message.payload) == message.ciphertext)
                #expect(try client.receive.decrypt(message.ciphertext[...]) == message.payload)
            }
        }
    }

    @Test func `another key fails at the first message, and any changed byte`() throws {
        let key = TunnelKey.random()
        var stranger = HandshakeState(key: .random(), prologue: prologue)
        let wrong = try stranger.writeFirst()
        var responder = HandshakeState(key: key, prologue: prologue)
        #expect(throws: NoiseError.notAuthentic) { try responder.answer(wrong[...]) }
        var initiator = HandshakeState(key: key, prologue: prologue)
        let first = try initiator.writeFirst()
        for index in first.indices {
            var changed = first
            changed[index] ^= 1
            var responder = HandshakeState(key: key, prologue: prologue)
            #expect(throws: NoiseError.self) { try responder.answer(changed[...]) }
        }
        for count in 0..<first.count {
            var responder = HandshakeState(key: key, prologue: prologue)
            #expect(throws: NoiseError.self) { try responder.answer(first.prefix(count)) }
        }
    }

    @Test func `a reflected message and one for another purpose do not decrypt`() throws {
        let key = TunnelKey.random()
        var initiator = HandshakeState(key: key, prologue: prologue)
        let first = try initiator.writeFirst()
        #expect(throws: NoiseError.notAuthentic) { try initiator.readSecond(first[...]) }
        var elsewhere = HandshakeState(key: key, prologue: Array("there".utf8))
        #expect(throws: NoiseError.notAuthentic) { try elsewhere.answer(first[...]) }
    }

    /// REKEY by hand: the first half of what 32 zeros become under the greatest nonce (Noise rev. 34, §4.2).
    @Test func `after so many messages each direction goes on with the key that follows`() throws {
        let zeros = [UInt8](repeating: 0, count: 32)
        var sender = CipherState(key: zeros)
        var receiver = CipherState(key: zeros)
        var unchanged = CipherState(key: zeros)
        for side in 0..<2 {
            if side == 0 { sender.rekey(every: 4) } else { receiver.rekey(every: 4) }
        }
        for number in 0..<20 {
            let sealed = try sender.encrypt([UInt8(number)])
            let plain = try unchanged.encrypt([UInt8(number)])
            #expect((sealed == plain) == (number < 4))
            #expect(try receiver.decrypt(sealed[...]) == [UInt8(number)])
        }
        // AES-256-GCM of 32 zeros under a key of zeros and this nonce, by another implementation (OpenSSL).
        var next = CipherState(
            key: bytes("f1573ed7ea59562387a25c24fabe25a3155fecd880e181089fe581c148cc6ba9"))
        for number in 0..<4 { _ = try next.encrypt([UInt8(number)]) }
        var again = CipherState(key: zeros)
        again.rekey(every: 4)
        for number in 0..<4 { _ = try again.encrypt([UInt8(number)]) }
        for number in 4..<8 {
            #expect(try again.encrypt([UInt8(number)]) == next.encrypt([UInt8(number)]))
        }
    }

    /// ChaCha20-Poly1305 under the key that follows from 32 zeros under AES-256-GCM, by another implementation (OpenSSL).
    @Test func `another cipher goes on with the next key and the next nonce`() throws {
        let zeros = [UInt8](repeating: 0, count: 32)
        var sender = CipherState(key: zeros)
        var receiver = CipherState(key: zeros)
        sender.rekey(every: 4)
        receiver.rekey(every: 4)
        let expected = [
            2: "1e781cd73456b04f7793bbd65c711e5bd8857d09ed",
            4: "0257e457488a437a18370b8a0fd3ba705cb71b5538",
        ]
        for (number, word) in ["first", "second", "third", "fourth", "fifth"].enumerated() {
            if number == 2 {
                try sender.change(to: .chaChaPoly)
                try receiver.change(to: .chaChaPoly)
            }
            let sealed = try sender.encrypt(Array(word.utf8))
            if let expected = expected[number] { #expect(sealed == bytes(expected)) }
            #expect(try receiver.decrypt(sealed[...]) == Array(word.utf8))
        }
    }

    @Test func `a replayed first message gets an answer that its replayer cannot use`() throws {
        let key = TunnelKey.random()
        var initiator = HandshakeState(key: key, prologue: prologue)
        let first = try initiator.writeFirst()
        var genuine = HandshakeState(key: key, prologue: prologue)
        var real = try genuine.answer(first[...])
        var client = try initiator.readSecond(real.answer[...])
        let record = try client.send.encrypt(Array("hello".utf8))
        #expect(try real.receive.decrypt(record[...]) == Array("hello".utf8))
        var again = HandshakeState(key: key, prologue: prologue)
        var replayed = try again.answer(first[...])
        #expect(replayed.answer != real.answer)
        #expect(throws: NoiseError.notAuthentic) { try replayed.receive.decrypt(record[...]) }
    }

    @Test func `a record twice, or before its turn, does not decrypt`() throws {
        let key = TunnelKey.random()
        var initiator = HandshakeState(key: key, prologue: prologue)
        var responder = HandshakeState(key: key, prologue: prologue)
        var server = try responder.answer(try initiator.writeFirst()[...])
        var client = try initiator.readSecond(server.answer[...])
        let one = try client.send.encrypt([1])
        let two = try client.send.encrypt([2])
        let three = try client.send.encrypt([3])
        var early = server.receive
        #expect(throws: NoiseError.notAuthentic) { try early.decrypt(two[...]) }
        #expect(try server.receive.decrypt(one[...]) == [1])
        var twice = server.receive
        #expect(throws: NoiseError.notAuthentic) { try twice.decrypt(one[...]) }
        #expect(try server.receive.decrypt(two[...]) == [2])
        #expect(try server.receive.decrypt(three[...]) == [3])
    }

    @Test func `a first message is checked without answering it`() throws {
        let key = TunnelKey.random()
        let check = FirstMessageCheck(key: key, prologue: prologue)
        var initiator = HandshakeState(key: key, prologue: prologue)
        let first = try initiator.writeFirst()
        // Twice: a check changes nothing.
        #expect(check.accepts(first[...]) && check.accepts(first[...]))
        for index in first.indices {
            var changed = first
            changed[index] ^= 1
            #expect(!check.accepts(changed[...]))
        }
        for count in 0..<first.count { #expect(!check.accepts(first.prefix(count))) }
        #expect(!check.accepts((first + [0])[...]))
        let others = [
            FirstMessageCheck(key: .random(), prologue: prologue),
            FirstMessageCheck(key: key, prologue: Array("there".utf8)),
        ]
        for other in others { #expect(!other.accepts(first[...])) }
    }

    @Test func `points of small order are refused`() throws {
        let key = TunnelKey.random()
        for point in [[UInt8](repeating: 0, count: 32), [1] + Array(repeating: 0, count: 31)] {
            var responder = HandshakeState(key: key, prologue: prologue)
            let tag = [UInt8](repeating: 0, count: 16)
            #expect(throws: NoiseError.self) { try responder.answer((point + tag)[...]) }
        }
    }
}

@Suite struct TunnelKeyTests {
    @Test func `keys are 64 hexadecimal digits`() {
        let digits = String(repeating: "0aF9", count: 16)
        #expect(TunnelKey.parse(Array((digits + "\n").utf8))?.count == 32)
        for wrong in ["", "\n", String(digits.dropLast()), digits + "0", "g" + digits.dropFirst()] {
            #expect(TunnelKey.parse(Array(wrong.utf8)) == nil)
        }
    }
}
