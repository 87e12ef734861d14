//! The words around a number that say what it is, where its form alone does not.

/// What is said about the number that begins here.
pub struct Context {
    /// The words before it in lower case, nearest last; masks are no words.
    before: String,
    /// The words after it.
    after: String,
}

/// Characters of text before and after that are read: "social security number is".
const BEFORE: usize = 40;
const AFTER: usize = 20;

impl Context {
    pub fn of(text: &str, start: usize, end: usize) -> Self {
        let mut from = start;
        for (at, c) in text[..start].char_indices().rev().take(BEFORE) {
            if c == '\n' {
                break;
            }
            from = at;
        }
        let head = text[..start].len() - text[from..start].len();
        let before = super::mask::without_masks(&text[head..start]).to_lowercase();
        let after: String = text[end..].chars().take(AFTER).take_while(|c| *c != '\n').collect();
        Self { before, after: after.to_lowercase() }
    }

    pub fn says_phone(&self) -> bool {
        says(&self.before, PHONE, 4) || says(&self.before, CALL, 2)
    }

    pub fn says_ssn(&self) -> bool {
        says(&self.before, SSN, 5) || says(&self.after, SSN, 5)
    }

    pub fn says_nhs(&self) -> bool {
        says(&self.before, &["nhs"], 5) || says(&self.after, &["nhs"], 5)
    }

    pub fn says_aadhaar(&self) -> bool {
        says(&self.before, AADHAAR, 5)
    }

    pub fn says_nif(&self) -> bool {
        says(&self.before, NIF, 5)
    }

    pub fn says_address(&self) -> bool {
        says(&self.before, ADDRESS, 4)
    }

    pub fn says_version(&self) -> bool {
        says(&self.before, VERSION, 2)
    }

    /// An order, a ticket, a part: numbers of any form.
    pub fn says_something_else(&self) -> bool {
        says(&self.before, ELSE, 2)
    }

    /// The very last word does: it is nearer than any other.
    pub fn says_something_else_last(&self) -> bool {
        says(&self.before, ELSE, 1)
    }
}

/// Whether one of the last `nearest` words is in the list; scripts without spaces
/// between words are searched for the word itself. A name in a program is one word.
fn says(text: &str, list: &[&str], nearest: usize) -> bool {
    let words =
        text.split(|c: char| !c.is_alphanumeric() && c != '_' && !is_mark(c)).filter(|word| !word.is_empty());
    let mut words: Vec<&str> = words.collect();
    words.drain(..words.len().saturating_sub(nearest));
    list.iter().any(|wanted| match wanted.chars().next().is_some_and(|c| c >= '\u{900}') {
        true => text.contains(wanted),
        false => words.iter().any(|word| word == wanted),
    })
}

/// Vowel signs of Indian scripts belong to their words.
fn is_mark(c: char) -> bool {
    ('\u{900}'..'\u{e00}').contains(&c)
}

const PHONE: &[&str] = &[
    "tel",
    "tél",
    "telefon",
    "telephone",
    "téléphone",
    "teléfono",
    "telefono",
    "telefone",
    "telefonu",
    "telefoon",
    "telefonnummer",
    "phone",
    "ph",
    "phones",
    "mobile",
    "mob",
    "mobil",
    "móvil",
    "movil",
    "mobiel",
    "cell",
    "cellulare",
    "celular",
    "handy",
    "portable",
    "komórka",
    "komórkowy",
    "fax",
    "hotline",
    "helpline",
    "whatsapp",
    "telegram",
    "sms",
    "rufnummer",
    "тел",
    "телефон",
    "телефону",
    "هاتف",
    "اتصل",
    "טלפון",
    "电话",
    "電話",
    "手机",
    "手機",
    "携帯",
    "전화",
    "연락처",
    "휴대폰",
    "फ़ोन",
    "फोन",
    "मोबाइल",
];
/// What people are told to do with a number; right before it, since they are other words too.
const CALL: &[&str] = &[
    "call",
    "calling",
    "ring",
    "dial",
    "appelez",
    "appeler",
    "joignable",
    "llámame",
    "llama",
    "llame",
    "llamad",
    "llamar",
    "chiama",
    "chiamate",
    "chiamare",
    "bel",
    "bellen",
    "zadzwoń",
    "zadzwon",
    "dzwoń",
    "dzwonić",
    "ligue",
    "ligar",
    "anrufen",
    "ruf",
    "anruf",
    "звоните",
    "позвоните",
];
const SSN: &[&str] = &["ssn", "ssns", "social", "seguro"];
const AADHAAR: &[&str] = &["aadhaar", "aadhar", "adhaar", "uidai", "uid", "आधार"];
const NIF: &[&str] = &["dni", "nif", "nie", "id"];
const ADDRESS: &[&str] = &[
    "ip",
    "ips",
    "ipv4",
    "address",
    "addresses",
    "adresse",
    "adres",
    "dirección",
    "direccion",
    "indirizzo",
    "host",
    "hosts",
    "server",
    "servers",
    "servidor",
    "dns",
    "ping",
    "ssh",
    "router",
    "gateway",
    "subnet",
    "from",
    "via",
    "proxy",
    "nameserver",
    "banned",
    "blocked",
    "адрес",
    "地址",
    "アドレス",
];
const VERSION: &[&str] = &[
    "v",
    "ver",
    "version",
    "versions",
    "versión",
    "versione",
    "wersja",
    "release",
    "releases",
    "build",
    "firmware",
    "driver",
    "kernel",
    "update",
    "upgrade",
    "patch",
    "section",
    "chapter",
    "clause",
    "paragraph",
    "§",
    "otp",
    "sdk",
    "api",
    "runtime",
    "bios",
    "app",
    "chrome",
    "chromium",
    "firefox",
    "safari",
    "edge",
];
const ELSE: &[&str] = &[
    "order",
    "orders",
    "ticket",
    "invoice",
    "inv",
    "ref",
    "reference",
    "reservation",
    "booking",
    "case",
    "lot",
    "batch",
    "part",
    "model",
    "serial",
    "sn",
    "sku",
    "isbn",
    "issn",
    "ean",
    "upc",
    "gtin",
    "version",
    "build",
    "release",
    "tracking",
    "parcel",
    "shipment",
    "awb",
    "container",
    "rma",
    "po",
    "contract",
    "file",
    "bestellnummer",
    "bestellung",
    "auftrag",
    "rechnung",
    "sendungsnummer",
    "pedido",
    "factura",
    "commande",
    "facture",
    "ordine",
    "fattura",
    "zamówienie",
    "faktura",
    "pmid",
    "lccn",
    "patent",
    "doi",
    "isni",
    "imei",
    "snowflake",
    "id",
    "lotto",
    "draw",
    "keno",
    "barcode",
    "item",
    "member",
    "customer",
    "price",
];
