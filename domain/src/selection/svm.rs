//! Linear separation of one class from the others: an L2-regularised support vector machine with squared hinge loss, by dual
//! coordinate descent with shrinking (Hsieh et al. 2008, algorithms 1 and 3, as in LIBLINEAR).
//!
//! Deterministic: the order of the coordinates comes from a generator that begins the same each time.

/// What a wrong example costs.
const COST: f32 = 2.0;
/// The same for an example of the class itself, of which there are few.
const COST_OF_OWN: f32 = 5.0;
/// How far from optimal is near enough: the largest projected gradient.
const TOLERANCE: f32 = 0.1;
const MAX_PASSES: u32 = 30;

/// Examples as sparse vectors, one after the other.
#[derive(Debug)]
pub(super) struct Rows {
    starts: Vec<usize>,
    cells: Vec<(u32, f32)>,
}

impl Rows {
    pub(super) fn of(rows: impl Iterator<Item = Vec<(u32, f32)>>) -> Self {
        let mut all = Self { starts: vec![0], cells: Vec::new() };
        for row in rows {
            all.cells.extend(row);
            all.starts.push(all.cells.len());
        }
        all
    }

    fn row(&self, index: usize) -> &[(u32, f32)] {
        &self.cells[self.starts[index]..self.starts[index + 1]]
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }
}

/// A plane between a class and the others: above zero is the class's side.
#[derive(Debug)]
pub(super) struct Plane {
    /// A weight for each feature.
    pub(super) weights: Vec<f32>,
    /// What is added.
    pub(super) bias: f32,
}

impl Plane {
    fn side(&self, row: &[(u32, f32)]) -> f32 {
        row.iter().fold(self.bias, |sum, (feature, value)| sum + self.weights[*feature as usize] * value)
    }

    fn push(&mut self, row: &[(u32, f32)], by: f32) {
        self.bias += by;
        for (feature, value) in row {
            self.weights[*feature as usize] += by * value;
        }
    }
}

/// Separates `class` from the others; `labels` says the class of each row.
pub(super) fn separate(rows: &Rows, labels: &[u16], class: u16, features: usize) -> Plane {
    let mut plane = Plane { weights: vec![0.0; features], bias: 0.0 };
    let mut alphas = vec![0.0_f32; rows.len()];
    let norms: Vec<f32> = (0..rows.len())
        .map(|row| 1.0 + rows.row(row).iter().map(|(_, value)| value * value).sum::<f32>())
        .collect();
    let mut order: Vec<usize> = (0..rows.len()).collect();
    let mut random = Order::default();
    let mut active = order.len();
    let mut bound = f32::INFINITY;
    for _ in 0..MAX_PASSES {
        random.shuffle(&mut order[..active]);
        let mut steepest = 0.0_f32;
        let mut position = 0;
        while position < active {
            let index = order[position];
            let row = rows.row(index);
            let (side, cost) = if labels[index] == class { (1.0, COST_OF_OWN) } else { (-1.0, COST) };
            let diagonal = 0.5 / cost;
            let alpha = alphas[index];
            let gradient = side * plane.side(row) - 1.0 + diagonal * alpha;
            if alpha == 0.0 && gradient > bound {
                active -= 1;
                order.swap(position, active);
                continue;
            }
            let projected = if alpha == 0.0 { gradient.min(0.0) } else { gradient };
            steepest = steepest.max(projected.abs());
            if projected.abs() > f32::EPSILON {
                alphas[index] = (alpha - gradient / (norms[index] + diagonal)).max(0.0);
                plane.push(row, (alphas[index] - alpha) * side);
            }
            position += 1;
        }
        if steepest < TOLERANCE {
            if active == order.len() {
                break;
            }
            // Those left out may be wrong by now.
            active = order.len();
            bound = f32::INFINITY;
        } else {
            bound = steepest;
        }
    }
    plane
}

/// Marsaglia's xorshift, which begins the same each time.
struct Order(u64);

impl Default for Order {
    fn default() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }
}

impl Order {
    fn shuffle(&mut self, items: &mut [usize]) {
        for last in (1..items.len()).rev() {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            let among = u64::try_from(last + 1).unwrap_or(u64::MAX);
            let other = usize::try_from(self.0 % among).unwrap_or(last);
            items.swap(last, other);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(rows: &[&[(u32, f32)]]) -> Rows {
        Rows::of(rows.iter().map(|row| row.to_vec()))
    }

    #[test]
    fn what_can_be_separated_is() {
        let rows = rows(&[&[(0, 1.0)], &[(0, 0.8), (2, 0.6)], &[(1, 1.0)], &[(1, 0.8), (2, 0.6)]]);
        let labels = [0, 0, 1, 1];
        for class in 0..2 {
            let plane = separate(&rows, &labels, class, 3);
            for (index, label) in labels.iter().enumerate() {
                assert_eq!(plane.side(rows.row(index)) > 0.0, *label == class, "row {index} of {label}");
            }
        }
    }

    /// The optimum of one example x = e₀ with cost C and a bias: α = 1 / (‖x‖² + 1 + 1/2C).
    #[test]
    fn one_example_has_the_optimum_that_can_be_worked_out() {
        let plane = separate(&rows(&[&[(0, 1.0)]]), &[0], 0, 1);
        let alpha = 1.0 / (2.0 + 0.5 / COST_OF_OWN);
        assert!((plane.weights[0] - alpha).abs() < 1e-6 && (plane.bias - alpha).abs() < 1e-6);
    }
}
