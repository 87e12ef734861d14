//! Consumes the source package of vaderSentiment 3.3.2 as PyPI serves it, produces the
//! human-rated texts inside it.
//!
//! The package (MIT, C. J. Hutto) holds an archive in an archive: the ground truth of
//! "VADER: A Parsimonious Rule-based Model for Sentiment Analysis of Social Media Text"
//! (Hutto and Gilbert, ICWSM 2014), four files of `id TAB mean rating TAB text`. Ratings
//! are means over twenty people, from -4 to 4. Nothing is read but that package: the
//! digest of the file is checked first.

use std::io::{BufRead, BufReader, Read};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

/// What PyPI has named the package's source distribution, and the digest it publishes.
pub const FILE_NAME: &str = "vaderSentiment-3.3.2.tar.gz";
pub const SHA256: &str = "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9";

/// Archive and decompressed files are some 2.5 and 11 MB; anything far beyond is not ours.
const ARCHIVE_BYTES_MAX: u64 = 16 << 20;
const FILE_BYTES_MAX: u64 = 8 << 20;

/// One of the four collections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collection {
    Tweets,
    Movies,
    Products,
    Editorials,
}

impl Collection {
    pub const ALL: [Self; 4] = [Self::Tweets, Self::Movies, Self::Products, Self::Editorials];

    fn file_stem(self) -> &'static str {
        match self {
            Self::Tweets => "tweets",
            Self::Movies => "movieReviewSnippets",
            Self::Products => "amazonReviewSnippets",
            Self::Editorials => "nytEditorialSnippets",
        }
    }

    /// Its name in `tidings eval sentiment`.
    pub fn id(self) -> &'static str {
        match self {
            Self::Tweets => "tweets",
            Self::Movies => "movie_reviews",
            Self::Products => "amazon_reviews",
            Self::Editorials => "nyt_editorials",
        }
    }

    /// How many texts the authors published.
    pub fn texts(self) -> usize {
        match self {
            Self::Tweets => 4_200,
            Self::Movies => 10_605,
            Self::Products => 3_708,
            Self::Editorials => 5_190,
        }
    }

    /// What the texts are, for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Tweets => "tweets",
            Self::Movies => "movie reviews",
            Self::Products => "Amazon reviews",
            Self::Editorials => "NYT editorials",
        }
    }
}

/// A text and what people thought of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rated {
    pub collection: Collection,
    /// Unique within its collection; `article_sentence` for editorials, `review_sentence`
    /// for products.
    pub id: String,
    pub rating: f64,
    pub text: String,
}

#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("cannot read the archive of texts: {0}")]
    Io(#[from] std::io::Error),
    #[error("the archive of texts is not {FILE_NAME} as PyPI publishes it (SHA-256 {0}, expected {SHA256})")]
    OtherFile(String),
    #[error("{file}, line {line}: {what}")]
    Malformed { file: String, line: usize, what: &'static str },
    #[error("{file} holds {found} texts, not the {expected} that its authors published")]
    Incomplete { file: &'static str, found: usize, expected: usize },
}

/// Reads all four collections out of the source package, in their authors' order.
pub fn read(package: impl Read) -> Result<Vec<Rated>, ContentError> {
    let mut bytes = Vec::new();
    package.take(ARCHIVE_BYTES_MAX).read_to_end(&mut bytes)?;
    let digest = hex(&Sha256::digest(&bytes));
    if digest != SHA256 {
        return Err(ContentError::OtherFile(digest));
    }
    let inner = entry(&bytes, "additional_resources/hutto_ICWSM_2014.tar.gz")?;
    let mut texts = Vec::new();
    for collection in Collection::ALL {
        let name = format!("hutto_ICWSM_2014/{}_GroundTruth.txt", collection.file_stem());
        let before = texts.len();
        parse(collection, &name, entry(&inner, &name)?.as_slice(), &mut texts)?;
        let found = texts.len() - before;
        if found != collection.texts() {
            let file = collection.file_stem();
            return Err(ContentError::Incomplete { file, found, expected: collection.texts() });
        }
    }
    Ok(texts)
}

/// The bytes of the one file of a gzipped tar whose path ends so.
fn entry(archive: &[u8], path_end: &str) -> Result<Vec<u8>, ContentError> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    for file in tar.entries()? {
        let file = file?;
        if file.path()?.to_string_lossy().ends_with(path_end) {
            let mut bytes = Vec::new();
            file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
            return Ok(bytes);
        }
    }
    let missing = format!("{path_end} is not in the archive");
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, missing).into())
}

fn parse(
    collection: Collection,
    file: &str,
    content: impl Read,
    texts: &mut Vec<Rated>,
) -> Result<(), ContentError> {
    for (index, line) in BufReader::new(content).lines().enumerate() {
        let line = line?;
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            continue;
        }
        let malformed = |what| ContentError::Malformed { file: file.to_string(), line: index + 1, what };
        let mut fields = line.splitn(3, '\t');
        let (Some(id), Some(rating), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
            return Err(malformed("not id, rating and text between tabs"));
        };
        let rating: f64 = rating.trim().parse().map_err(|_| malformed("the rating is not a number"))?;
        if !(-4.0..=4.0).contains(&rating) {
            return Err(malformed("the rating is outside of -4 to 4"));
        }
        texts.push(Rated { collection, id: id.trim().to_string(), rating, text: text.trim().to_string() });
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_lines_of_the_ground_truth() {
        let content = "1_1\t-0.9\tno picture scrolling b/w.\r\n1_2\t1.5\ta\ttab stays\r\n\r\n";
        let mut texts = Vec::new();
        parse(Collection::Products, "products", content.as_bytes(), &mut texts).expect("valid");
        assert_eq!(texts.len(), 2);
        assert_eq!((texts[0].id.as_str(), texts[0].rating), ("1_1", -0.9));
        assert_eq!(texts[1].text, "a\ttab stays");
    }

    #[test]
    fn says_where_a_line_is_wrong() {
        for (content, what) in [("1\tgood", "tabs"), ("1\tgood\tx", "number"), ("1\t9\tx", "outside")] {
            let broken = format!("7\t1\tfine\n{content}\n");
            let error = parse(Collection::Tweets, "tweets.txt", broken.as_bytes(), &mut Vec::new())
                .expect_err("broken");
            let message = error.to_string();
            assert!(message.starts_with("tweets.txt, line 2: ") && message.contains(what), "{message}");
        }
    }

    #[test]
    fn refuses_any_other_file() {
        let error = read(&b"not the package"[..]).expect_err("another file");
        assert!(matches!(error, ContentError::OtherFile(_)), "{error}");
    }
}
