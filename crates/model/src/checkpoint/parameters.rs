//! Where a parameter stands in its module, and what a checkpoint calls it.

use std::collections::BTreeMap;

use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::tensor::Tensor;

/// The fields entered on the way to a parameter, kept while a module is walked.
#[derive(Debug, Default)]
pub(crate) struct Path {
    fields: Vec<String>,
    owners: Vec<String>,
}

impl Path {
    pub(crate) fn enter(&mut self, field: &str, owner: &str) {
        self.fields.push(field.to_owned());
        self.owners.push(owner.to_owned());
    }

    pub(crate) fn exit(&mut self) {
        self.fields.pop();
        self.owners.pop();
    }

    /// The fields, outermost first.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.fields.iter().map(String::as_str).collect()
    }

    /// The fields, joined with dots.
    pub(crate) fn dotted(&self) -> String {
        self.fields.join(".")
    }

    /// Whether the parameter belongs to a linear map, whose weight is transposed on disk.
    pub(crate) fn is_linear(&self) -> bool {
        self.owners.last().is_some_and(|owner| owner == "Struct:Linear")
    }

    /// Whether the parameter is one that a new model draws, rather than a bias or a norm's scale.
    pub(crate) fn is_drawn(&self) -> bool {
        let field = self.fields.last().map(String::as_str);
        let owner = self.owners.last().map(String::as_str);
        field == Some("weight")
            && matches!(owner, Some("Struct:Linear" | "Struct:Embedding" | "Struct:Kernel"))
    }
}

/// The fields that lead to every parameter of a module, outermost first.
pub(crate) fn fields_of_parameters(module: &impl Module) -> BTreeMap<ParamId, Vec<String>> {
    let mut places = Places::default();
    module.visit(&mut places);
    places.found
}

#[derive(Default)]
struct Places {
    path: Path,
    found: BTreeMap<ParamId, Vec<String>>,
}

impl ModuleVisitor for Places {
    fn enter_module(&mut self, name: &str, owner: &str) {
        self.path.enter(name, owner);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let fields = self.path.fields().into_iter().map(str::to_owned).collect();
        self.found.insert(param.id, fields);
    }
}

/// Rows of `[n_rows, n_columns]` become columns.
pub(crate) fn transpose(values: &[f32], n_rows: usize, n_columns: usize) -> Vec<f32> {
    debug_assert_eq!(values.len(), n_rows * n_columns, "a full matrix");
    let mut turned = Vec::with_capacity(values.len());
    for column in 0..n_columns {
        turned.extend((0..n_rows).map(|row| values[row * n_columns + column]));
    }
    turned
}

/// The values of a tensor, row after row.
pub(crate) fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().convert::<f32>().try_into_vec().expect("the data was just made f32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_changes_nothing() {
        let values = [1., 2., 3., 4., 5., 6.];
        let turned = transpose(&values, 2, 3);
        assert_eq!(turned, [1., 4., 2., 5., 3., 6.]);
        assert_eq!(transpose(&turned, 3, 2), values);
    }
}
