//! Names that no two things have.

use std::collections::HashSet;

/// Names that are taken. Those that differ by case alone count as one: databases don't tell them apart.
#[derive(Default)]
pub(super) struct Names(HashSet<String>);

impl Names {
    /// The first of `name`, `name_ENDING`, `name_ENDING_2`, `name_ENDING_3`, ... that is not taken, which it is then.
    /// Without an ending, of `name`, `name_2`, ...
    pub(super) fn take(&mut self, name: &str, ending: &str) -> String {
        let long = if ending.is_empty() { name.to_owned() } else { format!("{name}_{ending}") };
        let numbered = (2..).map(|number: u64| format!("{long}_{number}"));
        let mut all = [name.to_owned(), long.clone()].into_iter().chain(numbered);
        // The numbers don't end before the names that are taken.
        all.find(|name| self.0.insert(name.to_lowercase())).unwrap_or(long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_given_once() {
        let mut names = Names::default();
        let mut take = |name: &str, ending: &str| names.take(name, ending);
        assert_eq!(take("mag", "a"), "mag");
        assert_eq!(take("mag_b", "a"), "mag_b");
        assert_eq!(take("mag", "b"), "mag_b_2");
        assert_eq!(take("MAG", "b"), "MAG_b_3");
        assert_eq!(take("sources", ""), "sources");
        assert_eq!(take("sources", ""), "sources_2");
    }
}
