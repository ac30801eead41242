#include <algorithm>
#include <iostream>
#include <map>
#include <string>
#include <vector>

// Words that are made of the same letters have the same key.
std::string key(std::string word) {
  std::sort(word.begin(), word.end());
  return word;
}

int main() {
  std::map<std::string, std::vector<std::string>> groups;
  for (std::string word; std::cin >> word;) {
    groups[key(word)].push_back(word);
  }
  for (const auto& [letters, words] : groups) {
    if (words.size() < 2) continue;
    for (const auto& word : words) std::cout << word << ' ';
    std::cout << '\n';
  }
}
