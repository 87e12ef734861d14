//! Words that say nothing of what a text is about, by language; days and months are among
//! them, which rise every day and every month.

use std::collections::HashMap;
use std::sync::LazyLock;

/// Languages with a list, by their bit.
const LISTS: [(&str, &str); 4] = [("en", ENGLISH), ("de", GERMAN), ("es", SPANISH), ("fr", FRENCH)];

/// Longest stop word, in bytes.
const STOP_BYTES_MAX: usize = 16;

type Words = HashMap<&'static str, u8, foldhash::fast::FixedState>;

static WORDS: LazyLock<Words> = LazyLock::new(|| {
    let mut words = Words::default();
    for (bit, (_, list)) in LISTS.iter().enumerate() {
        for word in list.split_ascii_whitespace() {
            *words.entry(word).or_default() |= 1 << bit;
        }
    }
    words
});

/// The bits of the lists that count for a language: its own, or all of them.
pub(super) fn languages(lang: Option<&str>) -> u8 {
    let own = LISTS.iter().position(|(code, _)| Some(*code) == lang);
    own.map_or(u8::MAX, |bit| 1 << bit)
}

pub(super) fn is_stop(word: &str, languages: u8) -> bool {
    // On the stack: this is asked of every word.
    let mut lower = [0; STOP_BYTES_MAX];
    let mut end = 0;
    if word.len() > STOP_BYTES_MAX {
        return false;
    }
    if word.is_ascii() {
        end = word.len();
        lower[..end].copy_from_slice(word.as_bytes());
        lower[..end].make_ascii_lowercase();
    } else {
        for c in word.chars().flat_map(char::to_lowercase) {
            let length = c.len_utf8();
            let Some(place) = lower.get_mut(end..end + length) else { return false };
            c.encode_utf8(place);
            end += length;
        }
    }
    let lower = std::str::from_utf8(&lower[..end]).expect("whole characters were written");
    WORDS.get(lower).is_some_and(|bits| bits & languages != 0)
}

const ENGLISH: &str = "
a about above according across actually after again against ago all almost alone along already also although always
am among an and another any anybody anyone anything are aren around as ask asked at away back be became because
become becomes been before behind being below best better between big both but by came can cannot come comes coming
could couldn day days did didn do does doesn doing don done down during each either else end enough even ever every
everybody everyone everything far few find first for former found from full gave get gets getting give given gives
go goes going gone good got great had hadn half has hasn have haven having he hello her here hers herself hey hi high
him himself his hour hours how however if in inside instead into is isn it its itself just keep know known knows last
late later latest least less let lets like likely little ll long look looks lot lots made make makes making many
maybe me mean means might mine minute minutes month months more morning most much must my myself near need needs
never next night no nobody none nor not nothing now of off often oh ok okay old on once one only onto or other
others our ours ourselves out outside over own part people per perhaps please put quite rather re read really right
said same saw say saying says second see seem seemed seems seen several shall she should shouldn show since so some
somebody someone something sometimes soon still such sure take taken takes taking tell than thank thanks that the
their theirs them themselves then there these they thing things think this those though thought three through
throughout time times to today together told tomorrow tonight too took toward towards tried try trying two under
until up upon us use used uses using ve very via want wanted wants was wasn way ways we week weeks well went were
weren what whatever when where whether which while who whole whom whose why will with within without won would
wouldn year years yes yesterday yet you your yours yourself
monday tuesday wednesday thursday friday saturday sunday january february march april may june july august september
october november december jan feb mar apr jun jul aug sep sept oct nov dec am pm utc rt amp";

const GERMAN: &str = "
ab aber alle allem allen aller alles als also am an andere anderem anderen anderer anderes auch auf aus bei beim
bereits bevor bin bis bisher bist da dabei dadurch dafür dagegen daher dahin damals damit danach dann daran darauf
daraus darf darin darüber darum das dass davon davor dazu dein deine deinem deinen deiner dem den denen denn dennoch
der deren des deshalb dessen dich die dies diese diesem diesen dieser dieses dir doch dort du durch eben ein eine
einem einen einer eines einfach einige einigen einmal er erst erste ersten es etwa etwas euch euer eure fast für gab
ganz gar geben gegen gehen geht gerade gern gibt ging gleich gut gute guten habe haben hast hat hatte hatten hätte
heute hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer in ins ist ja jede jedem jeden jeder
jedes jedoch jemand jetzt kann kein keine keinem keinen keiner kommen kommt können könnte lassen macht machen mal
man mehr mein meine meinem meinen meiner menschen mich mir mit morgen muss müssen nach nachdem neben nein neu neue
neuen neuer nicht nichts nie noch nun nur ob oben oder ohne sagen sagt schon sehr sei seid sein seine seinem seinen
seiner seit selbst sich sie sind so sogar soll sollen sollte sondern sonst soweit sowie statt tag tage tagen trotz
über um und uns unser unsere unserem unseren unter viel viele vielen vom von vor während war waren warum was weg
wegen weil weiter welche welchem welchen welcher wenig weniger wenn wer werde werden wessen wie wieder will wir wird
wo woche wochen wohl wollen worden wurde wurden würde würden zeit zu zum zur zwar zwei zwischen jahr jahre jahren uhr
montag dienstag mittwoch donnerstag freitag samstag sonntag januar februar märz april mai juni juli august september
oktober november dezember gestern";

const SPANISH: &str = "
a ahora al algo alguien algún alguna algunas alguno algunos allí ante antes año años aquel aquella aquí así aun aún
aunque bajo bien bueno buena cada casi como cómo con contra cosa cosas cual cuál cuales cualquier cuando cuándo
cuanto dar de debe deben decir del desde después dice dicen dicho dijo día días donde dónde dos durante e el él ella
ellas ellos en entonces entre era eran es esa esas ese eso esos está están estaba estado estar estas este esta esto
estos fue fueron ser gente gran grandes ha había haber hace hacen hacer hacia han hasta hay he hemos hoy la las le
les lo los luego más mas mayor me mejor menos mes meses mi mis misma mismo mucha muchas mucho muchos muy nada nadie
ni ningún ninguna no nos nosotros nuestra nuestro nueva nuevas nuevo nuevos nunca o otra otras otro otros para parte
pero poco poder por porque primer primera primero pues puede pueden que qué quien quién quienes quiere se sea según
semana semanas ser sí si sido siempre sin sobre sólo solo son su sus tal también tan tanto te tener tenía tengo ti
tiempo tiene tienen toda todas todavía todo todos tras tres tu tus un una unas uno unos usted va vamos van ver vez
veces y ya yo ayer mañana hora horas gracias lunes martes miércoles jueves viernes sábado domingo enero febrero marzo
abril mayo junio julio agosto septiembre octubre noviembre diciembre";

const FRENCH: &str = "
a à afin ai ainsi alors an ans année années après as au aucun aucune aujourd aussi autre autres aux avait avant avec
avez avoir avons beaucoup bien bon bonne car ce ceci cela celle celles celui ces cet cette ceux chaque chez chose
choses ci comme comment contre dans de demain depuis dernier dernière derrière des dès deux devant dit doit donc dont
du durant elle elles en encore entre est et étaient était étant été être eu eux face faire fait faut fois font grand
grande grands gens hier hui heure heures ici il ils jamais je jour jours jusqu jusque la là le les leur leurs loin
lors lui ma mais mal me même mêmes mes mieux moi moins mois mon ne ni non nos notre nous nouveau nouveaux nouvel
nouvelle nouvelles on ont ou où par parce pas pendant peu peut peuvent plus plusieurs plutôt pour pourquoi pouvoir
premier première près puis qu quand que quel quelle quelles quels qui quoi sa sans se selon semaine semaines sera
ses seulement si sien soit son sont sous souvent sur ta tant te tel telle temps tes toi ton toujours tous tout toute
toutes très trop tu un une va vers veut voici voilà vos votre vous vu merci lundi mardi mercredi jeudi vendredi samedi
dimanche janvier février mars avril mai juin juillet août septembre octobre novembre décembre";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_hold_lower_case_words_that_can_be_found() {
        for (code, list) in LISTS {
            for word in list.split_ascii_whitespace() {
                assert_eq!(word, word.to_lowercase(), "{code}");
                assert!(is_stop(word, languages(Some(code))), "{code} {word}");
                assert!(is_stop(&word.to_uppercase(), languages(None)), "{code} {word}");
            }
        }
        assert!(is_stop("war", languages(Some("de"))) && !is_stop("war", languages(Some("en"))));
        assert!(!is_stop("Ǆ".repeat(6).as_str(), u8::MAX), "longer in bytes than any");
    }
}
