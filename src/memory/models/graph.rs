//! An ONNX file whose word table is looked up before it is unfolded.
//!
//! A file with weights of one byte unfolds them where they are used: `Cast`, then `Mul` by a
//! scale for each row. Before a `Gather` that makes a table of floats, four times as large,
//! of which a text needs a few dozen rows. The rows are gathered first here, and their scales;
//! every value stays the same to the bit.
//!
//! The file is a protobuf message (onnx.proto3 of ONNX 1.x). Only the fields that matter are
//! read; all others are copied as they are, which a decoder of declared messages would drop.

/// Rows of a table for which it is worth it.
const ROWS_MIN: i64 = 4_096;

mod number {
    //! Numbers of the fields, by message.
    pub const MODEL_GRAPH: u64 = 7;
    pub const GRAPH_NODE: u64 = 1;
    pub const GRAPH_INITIALIZER: u64 = 5;
    pub const NODE_INPUT: u64 = 1;
    pub const NODE_OUTPUT: u64 = 2;
    pub const NODE_OP: u64 = 4;
    pub const NODE_ATTRIBUTE: u64 = 5;
    pub const ATTRIBUTE_NAME: u64 = 1;
    pub const ATTRIBUTE_INT: u64 = 3;
    pub const TENSOR_DIMS: u64 = 1;
    pub const TENSOR_NAME: u64 = 8;
}

/// The file with its tables gathered first; `None` if there is nothing to change, or it is
/// not understood.
pub(super) fn gathered_first(model: &[u8]) -> Option<Vec<u8>> {
    let mut changed = Vec::with_capacity(model.len() + 1024);
    let mut is_changed = false;
    for field in fields(model)? {
        match (field.number, field.value) {
            (number::MODEL_GRAPH, Value::Bytes(graph)) => {
                let graph = graph_gathered_first(graph)?;
                is_changed = true;
                put_bytes(&mut changed, number::MODEL_GRAPH, &graph);
            }
            _ => changed.extend_from_slice(field.whole),
        }
    }
    is_changed.then_some(changed)
}

/// A table that is unfolded before its rows are gathered.
struct Table<'a> {
    cast: usize,
    mul: usize,
    gather: usize,
    codes: &'a str,
    scales: &'a str,
}

fn graph_gathered_first(graph: &[u8]) -> Option<Vec<u8>> {
    let fields = fields(graph)?;
    let of = |wanted| {
        fields.iter().enumerate().filter_map(move |(i, field)| match field.value {
            Value::Bytes(bytes) if field.number == wanted => Some((i, bytes)),
            _ => None,
        })
    };
    let nodes: Vec<(usize, Node<'_>)> =
        of(number::GRAPH_NODE).map(|(i, bytes)| Some((i, Node::read(bytes)?))).collect::<Option<_>>()?;
    let tensors: Vec<Tensor<'_>> =
        of(number::GRAPH_INITIALIZER).map(|(_, bytes)| Tensor::read(bytes)).collect::<Option<_>>()?;
    let tables: Vec<Table<'_>> = nodes.iter().filter_map(|gather| table(gather, &nodes, &tensors)).collect();
    if tables.is_empty() {
        return None;
    }
    let mut changed = Vec::with_capacity(graph.len() + 1024);
    for (i, field) in fields.iter().enumerate() {
        if tables.iter().any(|table| i == table.cast || i == table.mul) {
            continue;
        }
        let Some(table) = tables.iter().find(|table| i == table.gather) else {
            changed.extend_from_slice(field.whole);
            continue;
        };
        let node = |at: usize| &nodes.iter().find(|(i, _)| *i == at).expect("a node").1;
        let (cast, mul, gather) = (node(table.cast), node(table.mul), node(table.gather));
        let (indices, out) = (gather.inputs[1], gather.outputs[0]);
        let [rows, scales, floats] = ["rows", "scales", "floats"].map(|part| format!("{out}/{part}"));
        for node in [
            made("Gather", &[table.codes, indices], &rows, &gather.attributes),
            made("Gather", &[table.scales, indices], &scales, &gather.attributes),
            made("Cast", &[&rows], &floats, &cast.attributes),
            made("Mul", &[&floats, &scales], out, &mul.attributes),
        ] {
            put_bytes(&mut changed, number::GRAPH_NODE, &node);
        }
    }
    Some(changed)
}

/// The table that a node gathers from, if it is unfolded for it alone, row by row.
fn table<'a>(
    (at, gather): &(usize, Node<'a>),
    nodes: &[(usize, Node<'a>)],
    tensors: &[Tensor<'a>],
) -> Option<Table<'a>> {
    let made_by = |op: &str, output: &str| {
        let found = nodes.iter().find(|(_, node)| node.op == op && node.outputs == [output])?;
        let uses = nodes.iter().flat_map(|(_, node)| &node.inputs).filter(|input| **input == output);
        (uses.count() == 1).then_some(found)
    };
    let tensor = |name: &str| tensors.iter().find(|tensor| tensor.name == name);
    let is_gather = gather.op == "Gather" && gather.inputs.len() == 2 && gather.is_along_rows()?;
    let (mul_at, mul) = made_by("Mul", is_gather.then(|| gather.inputs[0])?)?;
    let [floats, scales] = mul.inputs[..] else { return None };
    let (cast_at, cast) = made_by("Cast", floats)?;
    let [codes] = cast.inputs[..] else { return None };
    let (&[rows, _], &[scale_rows, 1]) = (&tensor(codes)?.dims[..], &tensor(scales)?.dims[..]) else {
        return None;
    };
    (rows == scale_rows && rows >= ROWS_MIN).then_some(Table {
        cast: *cast_at,
        mul: *mul_at,
        gather: *at,
        codes,
        scales,
    })
}

/// One operation.
struct Node<'a> {
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    op: &'a str,
    /// Whole fields.
    attributes: Vec<&'a [u8]>,
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut node = Self { inputs: vec![], outputs: vec![], op: "", attributes: vec![] };
        for field in fields(bytes)? {
            let Value::Bytes(value) = field.value else { continue };
            let text = || std::str::from_utf8(value).ok();
            match field.number {
                number::NODE_INPUT => node.inputs.push(text()?),
                number::NODE_OUTPUT => node.outputs.push(text()?),
                number::NODE_OP => node.op = text()?,
                number::NODE_ATTRIBUTE => node.attributes.push(field.whole),
                _ => {}
            }
        }
        Some(node)
    }

    /// Whether it is along the first axis, as without any attribute.
    fn is_along_rows(&self) -> Option<bool> {
        for attribute in &self.attributes {
            let Value::Bytes(attribute) = fields(attribute)?.first()?.value else { return None };
            for field in fields(attribute)? {
                match (field.number, field.value) {
                    (number::ATTRIBUTE_NAME, Value::Bytes(name)) if name != b"axis" => return Some(false),
                    (number::ATTRIBUTE_INT, Value::Number(axis)) if axis != 0 => return Some(false),
                    _ => {}
                }
            }
        }
        Some(true)
    }
}

fn made(op: &str, inputs: &[&str], output: &str, attributes: &[&[u8]]) -> Vec<u8> {
    let mut node = Vec::new();
    inputs.iter().for_each(|input| put_bytes(&mut node, number::NODE_INPUT, input.as_bytes()));
    put_bytes(&mut node, number::NODE_OUTPUT, output.as_bytes());
    put_bytes(&mut node, number::NODE_OP, op.as_bytes());
    attributes.iter().for_each(|field| node.extend_from_slice(field));
    node
}

/// Name and shape of a constant.
struct Tensor<'a> {
    name: &'a str,
    dims: Vec<i64>,
}

impl<'a> Tensor<'a> {
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let mut tensor = Self { name: "", dims: vec![] };
        for field in fields(bytes)? {
            match (field.number, field.value) {
                (number::TENSOR_NAME, Value::Bytes(name)) => tensor.name = std::str::from_utf8(name).ok()?,
                (number::TENSOR_DIMS, Value::Number(dim)) => tensor.dims.push(dim as i64),
                (number::TENSOR_DIMS, Value::Bytes(mut packed)) => {
                    while !packed.is_empty() {
                        tensor.dims.push(varint(&mut packed)? as i64);
                    }
                }
                _ => {}
            }
        }
        Some(tensor)
    }
}

struct Field<'a> {
    number: u64,
    value: Value<'a>,
    whole: &'a [u8],
}

#[derive(Clone, Copy)]
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Of 4 or 8 bytes, which nothing here needs.
    Fixed,
}

/// The fields of a message in their order; `None` if it is none.
fn fields(mut message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let all = message;
        let tag = varint(&mut message)?;
        let value = match tag & 7 {
            0 => Value::Number(varint(&mut message)?),
            1 => take(&mut message, 8).map(|_| Value::Fixed)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                Value::Bytes(take(&mut message, length)?)
            }
            5 => take(&mut message, 4).map(|_| Value::Fixed)?,
            _ => return None,
        };
        fields.push(Field { number: tag >> 3, value, whole: &all[..all.len() - message.len()] });
    }
    Some(fields)
}

fn take<'a>(message: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, rest) = message.split_at_checked(length)?;
    *message = rest;
    Some(taken)
}

fn varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take(message, 1)?[0];
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_bytes(message: &mut Vec<u8>, number: u64, bytes: &[u8]) {
    put_varint(message, number << 3 | 2);
    put_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn put_varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(name: &str, dims: &[u64]) -> Vec<u8> {
        let mut tensor = Vec::new();
        for dim in dims {
            put_varint(&mut tensor, number::TENSOR_DIMS << 3);
            put_varint(&mut tensor, *dim);
        }
        put_bytes(&mut tensor, number::TENSOR_NAME, name.as_bytes());
        tensor
    }

    fn model(rows: u64, nodes: &[Vec<u8>]) -> Vec<u8> {
        let mut graph = Vec::new();
        nodes.iter().for_each(|node| put_bytes(&mut graph, number::GRAPH_NODE, node));
        for tensor in [tensor("codes", &[rows, 3]), tensor("scales", &[rows, 1])] {
            put_bytes(&mut graph, number::GRAPH_INITIALIZER, &tensor);
        }
        let mut model = vec![8, 10];
        put_bytes(&mut model, number::MODEL_GRAPH, &graph);
        model
    }

    fn nodes(model: &[u8]) -> Vec<String> {
        let graph = fields(model).unwrap().into_iter().find(|f| f.number == number::MODEL_GRAPH).unwrap();
        let Value::Bytes(graph) = graph.value else { panic!("a message") };
        let shown =
            |node: Node<'_>| format!("{} {} -> {}", node.op, node.inputs.join(" "), node.outputs.join(" "));
        let nodes = fields(graph).unwrap().into_iter().filter(|f| f.number == number::GRAPH_NODE);
        nodes
            .map(|f| match f.value {
                Value::Bytes(node) => shown(Node::read(node).unwrap()),
                _ => panic!("a message"),
            })
            .collect()
    }

    fn unfolding() -> Vec<Vec<u8>> {
        vec![
            made("Cast", &["codes"], "floats", &[]),
            made("Mul", &["floats", "scales"], "table", &[]),
            made("Gather", &["table", "ids"], "words", &[]),
            made("Relu", &["words"], "out", &[]),
        ]
    }

    #[test]
    fn rows_are_gathered_before_they_are_unfolded() {
        let changed = gathered_first(&model(5_000, &unfolding())).expect("changed");
        assert_eq!(
            nodes(&changed),
            [
                "Gather codes ids -> words/rows",
                "Gather scales ids -> words/scales",
                "Cast words/rows -> words/floats",
                "Mul words/floats words/scales -> words",
                "Relu words -> out",
            ]
        );
        assert_eq!(changed[..2], [8, 10], "what is not understood stays");
        assert!(gathered_first(&changed).is_none(), "once");
    }

    #[test]
    fn what_is_otherwise_stays_as_it_is() {
        assert!(gathered_first(&model(100, &unfolding())).is_none(), "small");
        let mut used_twice = unfolding();
        used_twice.push(made("Relu", &["table"], "other", &[]));
        assert!(gathered_first(&model(5_000, &used_twice)).is_none(), "the table is needed elsewhere");
        let along = |axis: u64| {
            let (mut attribute, mut field) = (Vec::new(), Vec::new());
            put_bytes(&mut attribute, number::ATTRIBUTE_NAME, b"axis");
            put_varint(&mut attribute, number::ATTRIBUTE_INT << 3);
            put_varint(&mut attribute, axis);
            put_bytes(&mut field, number::NODE_ATTRIBUTE, &attribute);
            let mut nodes = unfolding();
            nodes[2] = made("Gather", &["table", "ids"], "words", &[&field]);
            gathered_first(&model(5_000, &nodes))
        };
        assert!(along(0).is_some() && along(1).is_none());
        for end in 0..40 {
            assert!(gathered_first(&model(5_000, &unfolding())[..end]).is_none(), "cut off");
        }
    }
}
