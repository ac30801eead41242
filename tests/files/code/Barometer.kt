package org.example.harbour

enum class Outlook { FAIR, CHANGE, STORM }

data class Pressure(val hour: Int, val hectopascals: Double)

/** Tells the weather from how fast the pressure falls. */
object Barometer {
    private const val FALL_OF_A_STORM = -6.0
    private const val FALL_OF_A_CHANGE = -2.0

    fun outlook(readings: List<Pressure>): Outlook {
        val sorted = readings.sortedBy(Pressure::hour)
        val steepest = sorted.windowed(4).minOfOrNull { (first, _, _, last) ->
            last.hectopascals - first.hectopascals
        } ?: return Outlook.FAIR
        return when {
            steepest <= FALL_OF_A_STORM -> Outlook.STORM
            steepest <= FALL_OF_A_CHANGE -> Outlook.CHANGE
            else -> Outlook.FAIR
        }
    }
}
