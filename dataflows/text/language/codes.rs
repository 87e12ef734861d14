//! Codes of languages: ISO 639-3 (and the bibliographic ones of 639-2) to ISO 639-1.
//!
//! Made from Debian's iso-codes 4.15; individual languages that stand for a
//! macrolanguage with a two-letter code (`cmn` for `zh`) were added by hand.

/// `three:two`, sorted by the first.
const CODES: &str = "\
    aar:aa abk:ab afr:af aka:ak alb:sq als:sq amh:am ara:ar arb:ar arg:an arm:hy asm:as ava:av \
    ave:ae aym:ay aze:az azj:az bak:ba bam:bm baq:eu bel:be ben:bn bis:bi bod:bo bos:bs bre:br \
    bul:bg bur:my cat:ca ces:cs cha:ch che:ce chi:zh chu:cu chv:cv cmn:zh cor:kw cos:co cre:cr \
    cym:cy cze:cs dan:da deu:de div:dv dut:nl dzo:dz ekk:et ell:el eng:en epo:eo est:et eus:eu \
    ewe:ee fao:fo fas:fa fij:fj fil:tl fin:fi fra:fr fre:fr fry:fy ful:ff geo:ka ger:de gla:gd \
    gle:ga glg:gl glv:gv gre:el grn:gn gug:gn guj:gu hat:ht hau:ha hbs:sh heb:he her:hz hin:hi \
    hmo:ho hrv:hr hun:hu hye:hy ibo:ig ice:is ido:io iii:ii iku:iu ile:ie ina:ia ind:id ipk:ik \
    isl:is ita:it jav:jv jpn:ja kal:kl kan:kn kas:ks kat:ka kau:kr kaz:kk khk:mn khm:km kik:ki \
    kin:rw kir:ky kom:kv kon:kg kor:ko kua:kj kur:ku lao:lo lat:la lav:lv lim:li lin:ln lit:lt \
    ltz:lb lub:lu lug:lg lvs:lv mac:mk mah:mh mal:ml mao:mi mar:mr may:ms mkd:mk mlg:mg mlt:mt \
    mon:mn mri:mi msa:ms mya:my nau:na nav:nv nbl:nr nde:nd ndo:ng nep:ne nld:nl nno:nn nob:nb \
    nor:no npi:ne nya:ny oci:oc oji:oj ori:or orm:om ory:or oss:os pan:pa per:fa pes:fa pli:pi \
    plt:mg pol:pl por:pt prs:fa pus:ps que:qu quz:qu roh:rm ron:ro rum:ro run:rn rus:ru sag:sg \
    san:sa sin:si slk:sk slo:sk slv:sl sme:se smo:sm sna:sn snd:sd som:so sot:st spa:es sqi:sq \
    srd:sc srp:sr ssw:ss sun:su swa:sw swe:sv swh:sw tah:ty tam:ta tat:tt tel:te tgk:tg tgl:tl \
    tha:th tib:bo tir:ti ton:to tsn:tn tso:ts tuk:tk tur:tr twi:tw uig:ug ukr:uk urd:ur uzb:uz \
    uzn:uz ven:ve vie:vi vol:vo wel:cy wln:wa wol:wo xho:xh ydd:yi yid:yi yor:yo zha:za zho:zh \
    zsm:ms zul:zu";

/// Two-letter codes withdrawn from ISO 639-1 that are still met.
const WITHDRAWN: &[(&str, &str)] = &[("in", "id"), ("iw", "he"), ("ji", "yi"), ("jw", "jv"), ("mo", "ro")];

/// Length of one entry and the space after it.
const ENTRY: usize = "aar:aa ".len();

/// The code of a lower-case primary subtag: two letters where there are such, else the
/// three; `None` for what is no code of a language.
pub(super) fn shortest(subtag: &str) -> Option<&str> {
    match subtag.len() {
        2 => {
            if let Some((_, current)) = WITHDRAWN.iter().find(|(old, _)| *old == subtag) {
                return Some(current);
            }
            CODES.as_bytes().chunks(ENTRY).any(|entry| entry[4..6] == *subtag.as_bytes()).then_some(subtag)
        }
        // Several, no linguistic content, uncoded, undetermined; qaa to qtz are private.
        3 if matches!(subtag, "mul" | "zxx" | "mis" | "und") || ("qaa"..="qtz").contains(&subtag) => None,
        3 => Some(from_three(subtag).unwrap_or(subtag)),
        _ => None,
    }
}

fn from_three(code: &str) -> Option<&'static str> {
    let (mut low, mut high) = (0, CODES.len().div_ceil(ENTRY));
    while low < high {
        let middle = (low + high) / 2;
        let entry = &CODES[middle * ENTRY..middle * ENTRY + ENTRY - 1];
        match entry[..3].cmp(code) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => return Some(&entry[4..]),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_found_and_sorted() {
        let entries: Vec<(&str, &str)> =
            CODES.split(' ').map(|entry| entry.split_once(':').unwrap()).collect();
        assert!(entries.is_sorted_by(|a, b| a.0 < b.0));
        for (three, two) in entries {
            assert_eq!(shortest(three), Some(two));
            assert_eq!(shortest(two), Some(two));
        }
    }
}
