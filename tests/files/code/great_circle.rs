//! Distances and first bearings between places on the sea.

use std::f64::consts::PI;

const MEAN_RADIUS_KM: f64 = 6371.0088;

/// A place in degrees; south and west are negative.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub latitude: f64,
    pub longitude: f64,
}

fn radians(degrees: f64) -> f64 {
    degrees * PI / 180.0
}

impl Place {
    /// Kilometres along the surface, by the haversine formula.
    pub fn distance(self, other: Place) -> f64 {
        let (phi1, phi2) = (radians(self.latitude), radians(other.latitude));
        let half_height = (phi2 - phi1) / 2.0;
        let half_width = radians(other.longitude - self.longitude) / 2.0;
        let a = half_height.sin().powi(2) + phi1.cos() * phi2.cos() * half_width.sin().powi(2);
        2.0 * MEAN_RADIUS_KM * a.sqrt().asin()
    }

    /// Degrees from north, clockwise, in which a ship has to leave.
    pub fn bearing(self, other: Place) -> f64 {
        let (phi1, phi2) = (radians(self.latitude), radians(other.latitude));
        let width = radians(other.longitude - self.longitude);
        let east = width.sin() * phi2.cos();
        let north = phi1.cos() * phi2.sin() - phi1.sin() * phi2.cos() * width.cos();
        (east.atan2(north) * 180.0 / PI + 360.0) % 360.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quarter_of_the_equator_is_ten_thousand_kilometres() {
        let start = Place { latitude: 0.0, longitude: 0.0 };
        let end = Place { latitude: 0.0, longitude: 90.0 };
        assert!((start.distance(end) - 10_007.5).abs() < 1.0);
        assert_eq!(start.bearing(end), 90.0);
    }
}
