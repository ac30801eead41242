package org.example.harbour

import scala.io.Source

/** Depths along a course; a keel must clear each of them. */
final case class Sounding(mile: Double, metres: Double)

object Soundings:
  def parse(line: String): Either[String, Sounding] =
    line.split(",").map(_.trim.toDoubleOption) match
      case Array(Some(mile), Some(metres)) => Right(Sounding(mile, metres))
      case _                               => Left(s"not a sounding: $line")

  def shallowest(soundings: Seq[Sounding]): Option[Sounding] =
    soundings.minByOption(_.metres)

  def passable(soundings: Seq[Sounding], draught: Double, clearance: Double = 0.5): Boolean =
    soundings.forall(_.metres >= draught + clearance)

@main def check(path: String, draught: Double): Unit =
  val (wrong, right) = Source.fromFile(path).getLines.map(Soundings.parse).toList.partitionMap(identity)
  wrong.foreach(System.err.println)
  println(if Soundings.passable(right, draught) then "clear" else "too shallow")
