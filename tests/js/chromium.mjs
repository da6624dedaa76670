// Unpacks Chromium into $TMPDIR; reports where its program, libraries and fonts are.
import { tmpdir } from 'node:os';
import { join } from 'node:path';

process.env.AWS_LAMBDA_JS_RUNTIME = 'nodejs22.x'; // so that the libraries which slim systems lack are unpacked too
const { default: chromium } = await import('@sparticuz/chromium');
const program = await chromium.executablePath();
const [libraries, fonts] = [join(tmpdir(), 'al2023', 'lib'), join(tmpdir(), 'fonts')];
console.log(JSON.stringify({ program, libraries, fonts }));
