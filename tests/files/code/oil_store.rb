# frozen_string_literal: true

# The oil in the tanks of a lighthouse, and for how many nights it lasts.
module OilStore
  class Empty < StandardError; end

  class Tank
    attr_reader :litres

    def initialize(litres)
      @litres = litres
    end

    def draw(wanted)
      drawn = [wanted, litres].min
      @litres -= drawn
      drawn
    end
  end

  class Store
    def initialize(*tanks)
      @tanks = tanks
    end

    def draw(litres)
      missing = @tanks.reduce(litres) { |left, tank| left - tank.draw(left) }
      raise Empty, "#{missing.round(2)} litres are missing" if missing.positive?

      litres
    end

    def nights(litres_per_night) = (@tanks.sum(&:litres) / litres_per_night).floor
  end
end
