package org.example.harbour

import kotlin.time.Duration
import kotlin.time.Duration.Companion.seconds

/** What the horn does: blasts and silences in turn. */
sealed interface Sound {
    val length: Duration

    data class Blast(override val length: Duration) : Sound
    data class Silence(override val length: Duration) : Sound
}

class FogSignal(private val pattern: List<Sound>) {
    init {
        require(pattern.any { it is Sound.Blast }) { "a signal has at least one blast" }
    }

    val period: Duration = pattern.fold(Duration.ZERO) { sum, sound -> sum + sound.length }

    fun soundAt(moment: Duration): Sound {
        var rest = (moment.inWholeMilliseconds % period.inWholeMilliseconds)
        return pattern.first { sound ->
            val within = rest < sound.length.inWholeMilliseconds
            rest -= sound.length.inWholeMilliseconds
            within
        }
    }
}

fun main() {
    val signal = FogSignal(listOf(Sound.Blast(3.seconds), Sound.Silence(57.seconds)))
    for (second in 0..60 step 2) {
        println("$second ${signal.soundAt(second.seconds)}")
    }
}
