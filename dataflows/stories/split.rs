//! The links of one component become the parts that are stories.
//!
//! A component of at most `component_items_max` items is one part. A larger one is likely a
//! chain, in which each item is like the next and the ends have nothing in common: only its
//! close links count then. What hangs together by them and is small enough is a part; of
//! the rest the earliest item that has none yet makes a part with those closely linked to it
//! and without a part, and so on. Many copies of one text stay together that way, since all
//! are linked to the first; a chain falls to pieces. Items without close links are in no part.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::item::{Edge, Key, Settings, Signal, Symbol};

/// What is said of parts. A part is named by the smallest symbol in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Said {
    Member(Symbol, Key),
    Info(Symbol, Info),
}

/// Of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Info {
    /// It is a part of a component that was too large.
    pub split: bool,
    /// Links within the part by signal: words, both, meaning.
    pub links: [u32; 3],
}

/// `edges` are all links of one component, each once.
pub fn parts(edges: &[Edge], settings: &Settings, mut give: impl FnMut(Said)) {
    let members: BTreeSet<Key> = edges.iter().flat_map(|edge| [edge.a, edge.b]).collect();
    if members.len() <= settings.component_items_max {
        return whole(&members, edges.iter(), false, &mut give);
    }
    let mut near: BTreeMap<Key, Vec<Key>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.link.close) {
        near.entry(edge.a).or_default().push(edge.b);
        near.entry(edge.b).or_default().push(edge.a);
    }
    let mut part_of: BTreeMap<Key, usize> = BTreeMap::new();
    let mut parts: Vec<BTreeSet<Key>> = Vec::new();
    for members in connected(&near) {
        if members.len() <= settings.component_items_max {
            assign(members, &mut part_of, &mut parts);
            continue;
        }
        for key in members {
            if !part_of.contains_key(&key) {
                let free = near[&key].iter().filter(|other| !part_of.contains_key(other));
                let part = free.copied().chain([key]).collect();
                assign(part, &mut part_of, &mut parts);
            }
        }
    }
    let mut links: Vec<Vec<&Edge>> = vec![Vec::new(); parts.len()];
    for edge in edges {
        if let (Some(a), Some(b)) = (part_of.get(&edge.a), part_of.get(&edge.b))
            && a == b
        {
            links[*a].push(edge);
        }
    }
    for (members, links) in parts.iter().zip(links) {
        if members.len() > 1 {
            whole(members, links.into_iter(), true, &mut give);
        }
    }
}

fn assign(members: BTreeSet<Key>, part_of: &mut BTreeMap<Key, usize>, parts: &mut Vec<BTreeSet<Key>>) {
    part_of.extend(members.iter().map(|key| (*key, parts.len())));
    parts.push(members);
}

fn whole<'a>(
    members: &BTreeSet<Key>,
    edges: impl Iterator<Item = &'a Edge>,
    split: bool,
    give: &mut impl FnMut(Said),
) {
    let name = members.iter().map(|key| key.symbol).min().expect("a part has members");
    let mut info = Info { split, links: [0; 3] };
    for edge in edges {
        let count = &mut info.links[match edge.link.signal {
            Signal::Words => 0,
            Signal::Both => 1,
            Signal::Meaning => 2,
        }];
        *count = count.saturating_add(1);
    }
    members.iter().for_each(|key| give(Said::Member(name, *key)));
    give(Said::Info(name, info));
}

/// The sets of keys that hang together, each in order.
fn connected(near: &BTreeMap<Key, Vec<Key>>) -> Vec<BTreeSet<Key>> {
    let mut seen: BTreeSet<Key> = BTreeSet::new();
    let mut found = Vec::new();
    for &start in near.keys() {
        if !seen.insert(start) {
            continue;
        }
        let (mut members, mut next) = (BTreeSet::from([start]), vec![start]);
        while let Some(key) = next.pop() {
            for &other in &near[&key] {
                if seen.insert(other) {
                    members.insert(other);
                    next.push(other);
                }
            }
        }
        found.push(members);
    }
    found
}
