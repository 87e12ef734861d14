//! Stories through their graph: of labelled texts, by words alone, nothing is invented.

use dataflows::stories::Settings;
use tidings::config::{Environment, Overrides, load};
use tidings::eval::stories::by_words;

#[test]
fn the_figures_on_labelled_texts_do_not_fall() {
    let loaded = load(&Environment::of([] as [(&str, &str); 0]), &Overrides::default()).expect("as shipped");
    let with = |settings: Settings| by_words(&settings).expect("the texts can be read");
    let shipped = loaded.config.stories.graph;
    let rows = with(shipped.clone());
    // Links by fewer words invent stories, links by nearly all words find none.
    let loose = with(Settings { words_alone_min: 0.02, ..shipped.clone() });
    let strict = with(Settings { words_alone_min: 0.98, ..shipped });
    for ((row, loose), strict) in rows.iter().zip(&loose).zip(&strict) {
        assert!(row.is_good() && row.figures.precision > 0.99 && row.found >= 3, "{row:#?}");
        assert!(row.figures.recall > strict.figures.recall + 0.005, "{row:#?}\n{strict:#?}");
        assert!(loose.figures.precision < 0.99 && strict.found == 0, "{loose:#?}\n{strict:#?}");
    }
}
