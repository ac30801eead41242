import Foundation

/// Flags by which ships spell; digits have pennants of their own.
enum Signal: Equatable {
    case flag(Character)
    case pennant(Int)
    case unknown

    init(_ character: Character) {
        if let digit = character.wholeNumberValue {
            self = .pennant(digit)
        } else if character.isLetter, character.isASCII {
            self = .flag(Character(character.uppercased()))
        } else {
            self = .unknown
        }
    }
}

extension StringProtocol {
    var signals: [Signal] {
        split(separator: " ").flatMap { word in word.map(Signal.init) }
    }
}

let message = CommandLine.arguments.dropFirst().joined(separator: " ")
for signal in message.signals where signal != .unknown {
    print(signal)
}
