//! How what was found by different means is compared and put into one order.

use std::collections::BTreeMap;

/// How little the first places of a list count more than the next: the constant of Cormack et al. 2009.
const K: f64 = 60.0;

/// How alike two vectors of norm 1 are, from -1 to 1: the cosine of their angle. Nothing when they have not the same length,
/// since then they are not of the same model.
pub fn cosine(a: &[f32], b: &[f32]) -> Option<f32> {
    (a.len() == b.len()).then(|| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>().clamp(-1.0, 1.0))
}

/// Something found, and how high it stands over all lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused<T> {
    /// What was found.
    pub item: T,
    /// The sum, over the lists that have it, of 1 / (60 + its place), from 1.
    pub score: f64,
}

/// Reciprocal rank fusion (Cormack, Clarke and Büttcher 2009) of lists, the best of each first: the places count, not the
/// scores, which cannot be compared. What stands equally high is in the order of the items. An item counts once in a list.
pub fn fuse<T: Ord + Clone>(lists: &[Vec<T>]) -> Vec<Fused<T>> {
    let mut scores: BTreeMap<&T, f64> = BTreeMap::new();
    for list in lists {
        let mut places: BTreeMap<&T, f64> = BTreeMap::new();
        let mut place = K;
        for item in list {
            place += 1.0;
            places.entry(item).or_insert(place);
        }
        for (item, place) in places {
            *scores.entry(item).or_default() += 1.0 / place;
        }
    }
    let mut fused: Vec<_> =
        scores.into_iter().map(|(item, score)| Fused { item: item.clone(), score }).collect();
    fused.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.item.cmp(&b.item)));
    fused
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(lists: &[&[&'static str]]) -> Vec<&'static str> {
        let lists: Vec<_> = lists.iter().map(|list| list.to_vec()).collect();
        fuse(&lists).into_iter().map(|found| found.item).collect()
    }

    #[test]
    fn the_cosine_of_directions_is_their_product() {
        assert_eq!(cosine(&[0.6, 0.8], &[0.6, 0.8]), Some(1.0));
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 1.0]), Some(0.0));
        assert_eq!(cosine(&[1.0, 0.0], &[-1.0, 0.0]), Some(-1.0));
        assert_eq!(cosine(&[1.0], &[1.0, 0.0]), None);
        // Of norm 1 as far as single precision goes.
        assert_eq!(cosine(&[1.000_000_1], &[1.000_000_1]), Some(1.0));
    }

    #[test]
    fn what_two_lists_have_goes_before_what_one_has_first() {
        // 1/62 + 1/62 > 1/61.
        assert_eq!(order(&[&["a", "b"], &["c", "b"]]), ["b", "a", "c"]);
        assert_eq!(order(&[&["z", "a"]]), ["z", "a"]);
        assert_eq!(order(&[&[], &[]]), [""; 0]);
        let scores: Vec<f64> =
            fuse(&[vec!["a", "b"], vec!["c", "b"]]).iter().map(|found| found.score).collect();
        assert!((scores[0] - 2.0 / 62.0).abs() < 1e-12 && (scores[1] - 1.0 / 61.0).abs() < 1e-12);
    }

    #[test]
    fn an_item_counts_once_in_a_list() {
        let fused = fuse(&[vec!["a", "a", "b"]]);
        assert!((fused[0].score - 1.0 / 61.0).abs() < 1e-12 && fused[0].item == "a");
        assert!((fused[1].score - 1.0 / 63.0).abs() < 1e-12);
    }
}
