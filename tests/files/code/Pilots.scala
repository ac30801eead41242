package org.example.harbour

import scala.collection.immutable.Queue

trait Dispatch[F[_]] {
  def ship(name: String): F[Unit]
}

/** Pilots go out in the order in which they came back. */
class Pilots(private var resting: Queue[String]) extends Dispatch[Option] {
  private var waiting = Queue.empty[String]
  private var aboard = Map.empty[String, String]

  override def ship(name: String): Option[Unit] = resting.dequeueOption match {
    case Some((pilot, others)) =>
      resting = others
      aboard += name -> pilot
      Some(())
    case None =>
      waiting = waiting.enqueue(name)
      None
  }

  def docked(name: String): Unit = aboard.get(name).foreach { pilot =>
    aboard -= name
    resting = resting.enqueue(pilot)
    waiting.dequeueOption.foreach { case (next, others) =>
      waiting = others
      ship(next)
    }
  }
}
