# frozen_string_literal: true

require "date"

# Divides the nights of a month among keepers so that nobody has two in a row.
class WatchRota
  Night = Struct.new(:date, :keeper)

  def initialize(keepers)
    raise ArgumentError, "at least two keepers are needed" if keepers.size < 2

    @keepers = keepers
  end

  def nights(year, month)
    days = (Date.new(year, month, 1)..Date.new(year, month, -1))
    days.zip(@keepers.cycle).map { |date, keeper| Night.new(date, keeper) }
  end

  # How many watches fall on a Saturday or Sunday, by keeper.
  def weekends(year, month)
    nights(year, month)
      .select { |night| night.date.saturday? || night.date.sunday? }
      .group_by(&:keeper)
      .transform_values(&:count)
  end
end

if __FILE__ == $PROGRAM_NAME
  rota = WatchRota.new(%w[Brask Ondine Peel])
  rota.nights(2026, 11).each { |night| puts "#{night.date.iso8601} #{night.keeper}" }
end
