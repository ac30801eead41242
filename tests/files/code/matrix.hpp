#pragma once

#include <array>
#include <cstddef>

namespace harbour {

/// A matrix whose size the compiler knows, so that wrong products do not build.
template <std::size_t Rows, std::size_t Columns>
class Matrix {
 public:
  constexpr double& at(std::size_t row, std::size_t column) { return cells_[row * Columns + column]; }
  constexpr double at(std::size_t row, std::size_t column) const {
    return cells_[row * Columns + column];
  }

  template <std::size_t Others>
  constexpr Matrix<Rows, Others> operator*(const Matrix<Columns, Others>& other) const {
    Matrix<Rows, Others> product{};
    for (std::size_t row = 0; row < Rows; ++row)
      for (std::size_t column = 0; column < Others; ++column)
        for (std::size_t inner = 0; inner < Columns; ++inner)
          product.at(row, column) += at(row, inner) * other.at(inner, column);
    return product;
  }

 private:
  std::array<double, Rows * Columns> cells_{};
};

}  // namespace harbour
