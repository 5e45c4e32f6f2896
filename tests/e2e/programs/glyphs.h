// Handwriting without a data set: digits from a small font, shifted, smudged, dimmed and spotted.
//
//   Random random(1);
//   Digits digits = draw_digits(4000, random);   // digits.pixels: 64 for each, 0 … about 1
//
// Owner: plain values.  Threads: any.
#pragma once
#include <algorithm>
#include <cstdio>
#include <vector>

#include "tests/e2e/programs/expect.h"

struct Digits {
  std::vector<float> pixels;
  std::vector<int> labels;
};

// Rows of five pixels, top to bottom, the leftmost in bit 4.
inline constexpr unsigned char kGlyphs[10][7] = {
    {14, 17, 19, 21, 25, 17, 14}, {4, 12, 4, 4, 4, 4, 14},  {14, 17, 1, 2, 4, 8, 31},
    {31, 2, 4, 2, 1, 17, 14},     {2, 6, 10, 18, 31, 2, 2}, {31, 16, 30, 1, 1, 17, 14},
    {6, 8, 16, 30, 17, 17, 14},   {31, 1, 2, 4, 8, 8, 8},   {14, 17, 17, 14, 17, 17, 14},
    {14, 17, 17, 15, 1, 2, 12}};

inline Digits draw_digits(int count, Random& random) {
  Digits digits{std::vector<float>(static_cast<std::size_t>(count) * 64), std::vector<int>()};
  for (int n = 0; n < count; n++) {
    const int label = static_cast<int>(random.next() % 10);
    const int right = static_cast<int>(random.next() % 4),
              down = static_cast<int>(random.next() % 2);
    const float ink = 0.6f + 0.4f * random.unit(), smudge = 0.45f * random.unit();
    float* image = &digits.pixels[static_cast<std::size_t>(n) * 64];
    for (int row = 0; row < 7; row++) {
      for (int column = 0; column < 5; column++) {
        if (((kGlyphs[label][row] >> (4 - column)) & 1) == 0 || random.unit() < 0.08f) continue;
        float* at = image + (row + down) * 8 + column + right;
        *at += ink;
        if (column + right < 7) at[1] += ink * smudge;
      }
    }
    for (int i = 0; i < 64; i++) {
      image[i] = std::min(image[i], 1.0f) + (random.unit() - 0.5f) * 0.4f;
      if (random.unit() < 0.01f) image[i] = 1.0f - image[i];
    }
    digits.labels.push_back(label);
  }
  return digits;
}

// Prints one digit as the network saw it.
inline void show_digit(const Digits& digits, int number) {
  std::printf("one of the unseen digits, a %d:\n", digits.labels[number]);
  for (int row = 0; row < 8; row++) {
    std::printf("    ");
    for (int column = 0; column < 8; column++) {
      const float ink = digits.pixels[static_cast<std::size_t>(number) * 64 + row * 8 + column];
      std::printf("%s", ink > 0.6f ? "##" : ink > 0.3f ? "++" : ink > 0.15f ? ".." : "  ");
    }
    std::printf("\n");
  }
}
