//! Selectors of labels as Kubernetes has them, with expressions.

use super::labels::{Labels, selects};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What labels must be like; without any requirement it selects everything.
#[derive(Clone, PartialEq, Eq, Hash, Default, Debug)]
pub struct Selector {
    /// `matchLabels`: pairs that must be there.
    pub labels: Labels,
    /// `matchExpressions`: each must hold.
    pub expressions: Box<[Expression]>,
}

/// One expression.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Expression {
    /// The key of the label.
    pub key: Arc<str>,
    /// What must be so of it.
    pub test: Test,
}

/// What must be so of a label.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Test {
    /// It is there and has one of these values.
    In(BTreeSet<Arc<str>>),
    /// It has none of these values, or is not there.
    NotIn(BTreeSet<Arc<str>>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

impl Selector {
    /// Whether it selects what has these labels.
    pub fn selects(&self, of: &Labels) -> bool {
        selects(&self.labels, of) && self.expressions.iter().all(|expression| expression.holds(of))
    }
}

impl Expression {
    fn holds(&self, of: &Labels) -> bool {
        let value = of.get(&self.key);
        match &self.test {
            Test::In(values) => value.is_some_and(|value| values.contains(value)),
            Test::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Test::Exists => value.is_some(),
            Test::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(test: Test) -> Selector {
        Selector { labels: Labels::default(), expressions: [Expression { key: "mesh".into(), test }].into() }
    }

    #[test]
    fn each_test_is_that_of_kubernetes() {
        let labels = |value: &str| Labels::from([("mesh".into(), value.into())]);
        let (on, off, none) = (labels("on"), labels("off"), Labels::default());
        let values = || BTreeSet::from(["on".into(), "yes".into()]);
        for (test, expected) in [
            (Test::In(values()), [true, false, false]),
            (Test::NotIn(values()), [false, true, true]),
            (Test::Exists, [true, true, false]),
            (Test::DoesNotExist, [false, false, true]),
        ] {
            let selector = of(test);
            assert_eq!([&on, &off, &none].map(|labels| selector.selects(labels)), expected, "{selector:?}");
        }
        assert!(Selector::default().selects(&none) && Selector::default().selects(&on));
        let both = Selector { labels: labels("on"), ..of(Test::Exists) };
        assert!(both.selects(&on) && !both.selects(&off));
    }
}
