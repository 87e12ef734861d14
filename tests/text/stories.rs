//! Stories through their graph: of labelled texts, by words alone, nothing is invented.

use tidings::config::{Environment, Overrides, load};
use tidings::eval::stories::by_words;

#[test]
fn the_figures_on_labelled_texts_do_not_fall() {
    let loaded = load(&Environment::of([] as [(&str, &str); 0]), &Overrides::default()).expect("as shipped");
    let settings = loaded.config.stories.graph;
    for row in by_words(&settings).expect("the texts can be read") {
        assert!(row.is_good() && row.figures.recall > 0.4, "{row:#?}");
    }
    // Links by fewer words invent stories: the figures are not good whatever is found.
    let loose = dataflows::stories::Settings { words_alone_min: 0.02, ..settings };
    let rows = by_words(&loose).expect("the texts can be read");
    assert!(rows.iter().any(|row| !row.is_good()), "{rows:#?}");
}
