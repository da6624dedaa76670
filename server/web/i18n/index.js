import en from './en.js';

const LANGUAGES = { en: async () => en, fr: async () => (await import('./fr.js')).default };

let words = en;
let plural = new Intl.PluralRules('en');

/** The language of the page: the first of the reader's languages that there is a file for. */
export let language = 'en';

export async function chooseLanguage(wishes = navigator.languages) {
  language = wishes.map((wish) => wish.slice(0, 2).toLowerCase()).find((code) => code in LANGUAGES) ?? 'en';
  words = await LANGUAGES[language]();
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language;
}

export const has = (key) => key in words || key in en;

/** The sentence for a key, with `{name}` filled in from `values`. */
export function t(key, values = {}) {
  const found = words[key] ?? en[key] ?? key;
  const sentence = typeof found === 'string' ? found : (found[plural.select(values.count)] ?? found.other);
  return sentence.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
}

/** The reader's own locale when it is of the page's language, so that times look the way they are used to. */
export const locale = () => navigator.languages.find((wish) => wish.startsWith(language)) ?? language;
