// What the page says, in each of its languages.
import { report } from './rule.mjs';

const LANGUAGES = ['en', 'fr'];

const all = {};
for (const code of LANGUAGES) {
  const { default: words } = await import(`../../server/web/i18n/${code}.js`);
  const { pluralCategories } = new Intl.PluralRules(code).resolvedOptions();
  all[code] = { words, pluralCategories };
}
report(all);
