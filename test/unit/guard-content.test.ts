/** What the guard's scanner sees in content: secrets and metadata of real forms, and that harmless things stay harmless. */
import assert from 'node:assert/strict'
import { createHash, generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import fc from 'fast-check'
import { isBase58Check, isImportKey } from '../../client/guard/base58.ts'
import { isPhrase } from '../../client/guard/mnemonic.ts'
import { MNEMONIC_WORDS } from '../../client/guard/mnemonic-words.ts'
import { ContentScanner } from '../../client/guard/scanner.ts'
import { concat, utf8 } from '../../src/bytes/index.ts'
import { exifSegment, iptcSegment, jpeg, pdf, png, pngChunk, tiff, xmpPacket, xmpSegment, zip } from '../support/pictures.ts'
import { seededRng } from '../support/seeded-rng.ts'

const SEED = 3_107
const scanner = new ContentScanner()

/** `rule:severity` of all findings, sorted. */
function found(content: Uint8Array | string, cut = Number.POSITIVE_INFINITY): string[] {
  const bytes = typeof content === 'string' ? utf8(content) : content
  scanner.reset()
  for (let at = 0; at < bytes.length; at += cut) scanner.push(bytes.subarray(at, Math.min(bytes.length, at + cut)))
  return scanner
    .end()
    .map(({ rule, severity }) => `${rule}:${severity}`)
    .sort()
}

const ed25519 = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
const rsa = generateKeyPairSync('rsa', { modulusLength: 1024 }).privateKey.export({ type: 'pkcs1', format: 'pem' }).toString()
/** Written in parts, so that no scanner of this repository takes them for real ones. */
const word = (length: number) => 'aB3dE6gH9jK2mN5pQ8rS1tU4vW7xY0zC3fG6'.repeat(4).slice(0, length)
const TOKENS: readonly (readonly [string, string])[] = [
  ['AWS', `AK${'IA'}QWERTYUIOPASDF23`],
  ['GitHub', `gh${'p_'}${word(36)}`],
  ['GitHub, fine-grained', `github${'_pat_'}${word(82)}`],
  ['GitLab', `gl${'pat-'}${word(20)}`],
  ['Slack', `xo${'xb-'}123456789012-123456789012-${word(24)}`],
  ['Stripe', `sk${'_live_'}${word(24)}`],
  ['npm', `np${'m_'}${word(36)}`],
  ['.npmrc', `//registry.example/:_auth${'Token'}=${word(30)}`],
]
const PHRASE = 'legal winner thank year wave sausage worth useful legal winner thank yellow'
/** Bitcoin wiki's example keys. */
const WIF = '5HueCGU8rMjxEXxiPuD5BDku4MkFqeZyd4dZ1jvhTVqvbTLvyTJ'
/** BIP 32, test vector 1. */
const XPRV = 'xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqjiChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi'

test('private keys: PEM, in JSON, OpenPGP, PuTTY, age, WireGuard, and this program’s own', () => {
  const key: readonly (readonly [string, string])[] = [
    ['pkcs8', ed25519],
    ['pkcs1', rsa],
    ['pluses', `-----BEGIN ${'PRIVATE'} KEY-----\nMC4CAQAwBQYDK2VwBCIEI${'aB3d+6g/'.repeat(6).slice(0, 43)}\n-----END`],
    ['in a program', `-----BEGIN ${'PRIVATE'} KEY-----\\n' +\n  '${word(64)}\\n' +\n  '-----END`],
    ['json', JSON.stringify({ type: 'service_account', private_key: ed25519 })],
    ['windows', rsa.replaceAll('\n', '\r\n')],
    ['indented', rsa.replaceAll('\n', '\n    ')],
    ['pgp', `-----BEGIN PGP ${'PRIVATE'} KEY BLOCK-----\nVersion: GnuPG v2\n\n${word(64)}\n-----END`],
    ['openssh', `-----BEGIN OPENSSH ${'PRIVATE'} KEY-----\n${word(70)}\n`],
    ['putty', `PuTTY-User-Key-${'File-'}3: ssh-ed25519\nEncryption: none\nPublic-Lines: 2\nx\nPrivate-Lines: 1\nxx`],
    ['age', `AGE-SECRET-${'KEY-1'}${'QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L'.repeat(2).slice(0, 58)}`],
    ['wireguard', `[Interface]\nPrivate${'Key'} = ${Buffer.alloc(32, 7).toString('base64')}\n`],
  ]
  for (const [what, text] of key) assert.deepEqual(found(`before\n${text}\nafter`), ['private-key:refused'], what)
  for (const first of ['gyre identity 1', 'gyre key 1'])
    assert.deepEqual(found(`${first}\n${'ab'.repeat(32)}\n`), ['gyre-data:refused'])
})

test('tokens, in the middle of text and at either end', () => {
  for (const [what, token] of TOKENS) {
    for (const text of [token, `a = "${token}"`, `x\n${token}\n${'y '.repeat(50)}`])
      assert.deepEqual(found(text), ['token:refused'], `${what}: ${text}`)
  }
})

test('wallets: import keys, extended keys, seed phrases, key stores', () => {
  for (const text of [
    WIF,
    XPRV,
    PHRASE,
    `my seed: ${PHRASE}.`,
    PHRASE.split(' ')
      .map((one, at) => `${at + 1}. ${one}`)
      .join('\n'),
  ]) {
    for (const around of [text, `${'x '.repeat(31)}${text} ${'y '.repeat(17)}`])
      assert.deepEqual(found(around), ['wallet:refused'], around)
  }
  assert.deepEqual(found(JSON.stringify({ crypto: { ciphertext: 'ab'.repeat(32), kdfparams: { n: 1 } } })), ['wallet:refused'])
})

test('secrets in texts of two bytes a character, as Windows writes them', () => {
  const wide = (text: string, order: 'le' | 'be') => {
    const bytes = Buffer.from(`\ufeff${text}`, 'utf16le')
    return new Uint8Array(order === 'le' ? bytes : bytes.swap16())
  }
  for (const order of ['le', 'be'] as const) {
    for (const cut of [1, 2, 3, 1000]) {
      assert.deepEqual(found(wide(`Schlüssel 密钥:\r\n${rsa}`, order), cut), ['private-key:refused'], `${order} ${cut}`)
      assert.deepEqual(found(wide(`key=${TOKENS[1]![1]} `, order), cut), ['token:refused'])
      assert.deepEqual(found(wide('Ein Text über nichts. 什么都没有', order), cut), [])
    }
  }
  assert.deepEqual(found(Uint8Array.of(0xff)), [])
  assert.deepEqual(found(Uint8Array.of(0xff, 0xfe, 0x2d)), [])
  // Not a text of that kind, only its beginning.
  assert.deepEqual(found(concat(Uint8Array.of(0xff, 0xd8, 0xff), utf8(rsa))), ['private-key:refused'])
})

test('what only looks like a secret is none', () => {
  const harmless: readonly string[] = [
    'Look for -----BEGIN RSA PRIVATE KEY----- in your files, and for -----END RSA PRIVATE KEY-----.',
    '-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----',
    `-----BEGIN PUBLIC KEY-----\n${word(64)}\n-----END PUBLIC KEY-----`,
    `AK${'IA'}IOSFODNN7EXAMPLE`,
    `gh${'p_'}${'x'.repeat(36)}`,
    `gh${'p_'}${word(40)}`,
    `aAK${'IA'}QWERTYUIOPASDF23`,
    `sk${'_test_'}${word(24)}`,
    // biome-ignore lint/suspicious/noTemplateCurlyInString: how a settings file names a variable
    '//registry.example/:_authToken=${NPM_TOKEN}',
    `${WIF.slice(0, -1)}K`,
    `a${WIF}`,
    XPRV.replace('9s21', '9s12'),
    PHRASE.replace('yellow', 'zebra'),
    PHRASE.split(' ').slice(1).join(' '),
    MNEMONIC_WORDS.join('\n'),
    MNEMONIC_WORDS.join(' '),
    Buffer.from(seededRng(SEED).bytes(200_000)).toString('base64'),
    '<item><dc:creator>Jane Doe</dc:creator></item>',
    'exif:GPSLatitude is a property; /Author is a key.',
    'The first bytes are Exif\0\0 and then a TIFF structure.',
  ]
  for (const text of harmless) assert.deepEqual(found(text), [], text.slice(0, 80))
  for (const own of [
    'README.md',
    'ARCHITECTURE.md',
    'package-lock.json',
    'proto/SPEC.md',
    'client/guard/secret-marks.ts',
    'client/guard/mnemonic-words.ts',
  ]) {
    assert.deepEqual(found(new Uint8Array(readFileSync(new URL(`../../${own}`, import.meta.url)))), [], own)
  }
  assert.deepEqual(found(seededRng(SEED).bytes(3_000_000)), [])
})

test('pictures: position, author, device and circumstances, in every place that formats have for them', () => {
  const position = {
    gps: [
      { tag: 0, value: 2 },
      { tag: 1, value: 'N' },
    ],
  }
  const camera = { main: [{ tag: 0x010f, value: 'Maker' }] }
  const xmpCreator = '<dc:creator><rdf:Seq><rdf:li>Jane</rdf:li></rdf:Seq></dc:creator>'
  const text = (keyword: string, value: string) => utf8(`${keyword}\0${value}`)
  const cases: readonly (readonly [string, Uint8Array, readonly string[]])[] = [
    ['plain', jpeg([]), []],
    ['gps', jpeg([exifSegment(position)]), ['position:flagged']],
    ['gps, big-endian', jpeg([exifSegment({ ...position, bigEndian: true })]), ['position:flagged']],
    ['gps without a position', jpeg([exifSegment({ gps: [{ tag: 0, value: 2 }] })]), []],
    ['artist', jpeg([exifSegment({ main: [{ tag: 0x013b, value: 'Jane Doe' }] })]), ['author:flagged']],
    ['empty artist', jpeg([exifSegment({ main: [{ tag: 0x013b, value: '       ' }] })]), []],
    ['owner', jpeg([exifSegment({ exif: [{ tag: 0xa430, value: 'Jane' }] })]), ['author:flagged']],
    ['serial number', jpeg([exifSegment({ exif: [{ tag: 0xa431, value: '0012' }] })]), ['device:flagged']],
    [
      'camera and date',
      jpeg([exifSegment({ ...camera, exif: [{ tag: 0x9003, value: '2026:01:01 00:00:00' }] })]),
      ['circumstances:note'],
    ],
    ['orientation', jpeg([exifSegment({ main: [{ tag: 0x0112, value: 6 }] })]), []],
    ['xmp creator', jpeg([xmpSegment(xmpCreator)]), ['author:flagged']],
    ['xmp position', jpeg([xmpSegment('<exif:GPSLatitude>52,31N</exif:GPSLatitude>')]), ['position:flagged']],
    ['xmp serial number as an attribute', jpeg([xmpSegment('<x aux:SerialNumber="123"/>')]), ['device:flagged']],
    [
      'iptc',
      jpeg([
        iptcSegment([
          [80, 'Jane'],
          [90, 'Berlin'],
        ]),
      ]),
      ['author:flagged', 'position:flagged'],
    ],
    ['iptc of a caption', jpeg([iptcSegment([[120, 'A picture']])]), []],
    ['behind the end', jpeg([], jpeg([exifSegment(position)])), ['position:flagged']],
    ['png exif', png([pngChunk('eXIf', tiff(position))]), ['position:flagged']],
    ['png author', png([pngChunk('tEXt', text('Author', 'Jane'))]), ['author:flagged']],
    ['png software', png([pngChunk('tEXt', text('Software', 'Editor'))]), ['circumstances:note']],
    ['png time', png([pngChunk('tIME', new Uint8Array(7))]), ['circumstances:note']],
    ['png xmp', png([pngChunk('iTXt', utf8(`XML:com.adobe.xmp\0\0\0\0\0${xmpPacket(xmpCreator)}`))]), ['author:flagged']],
    ['png raw profile', png([pngChunk('zTXt', text('Raw profile type exif', '\0xx'))]), ['author:flagged']],
    ['webp', concat(utf8('RIFF\0\0\0\0WEBPEXIF\0\x01\0\0'), tiff(position)), ['position:flagged']],
    [
      'video',
      concat(utf8('\0\0\0\x18ftypmp42'), new Uint8Array(50), Uint8Array.of(0xa9), utf8('xyz\0\x12\0\0+52.5+013.4/')),
      ['position:flagged'],
    ],
  ]
  for (const [what, bytes, expected] of cases) assert.deepEqual(found(bytes), expected, what)
})

test('documents: PDF in the clear and packed, office archives', () => {
  const office = '<cp:coreProperties><dc:creator>Jane Doe</dc:creator><dcterms:created>2026</dcterms:created></cp:coreProperties>'
  const cases: readonly (readonly [string, Uint8Array, readonly string[]])[] = [
    ['no information', pdf('/Title (A title)'), []],
    ['author', pdf('/Author (Jane Doe)'), ['author:flagged']],
    ['author in hexadecimal', pdf('/Author <FEFF004A>'), ['author:flagged']],
    ['author elsewhere', pdf('/Author 7 0 R'), ['author:flagged']],
    ['empty author', pdf('/Author () /Author <> /Author <FEFF>'), []],
    ['producer', pdf('/Producer (A program) /Creator (Another)'), ['circumstances:note']],
    ['packed author', pdf('/Author (Jane Doe) /Producer (P)', true), ['author:flagged', 'circumstances:note']],
    ['packed without', pdf('/Title (T)', true), []],
    ['docx', zip('docProps/core.xml', office), ['author:flagged', 'circumstances:note']],
    ['docx without', zip('docProps/core.xml', '<cp:coreProperties><dc:creator></dc:creator></cp:coreProperties>'), []],
    ['odt', zip('meta.xml', '<meta:initial-creator>Jane</meta:initial-creator>'), ['author:flagged']],
  ]
  for (const [what, bytes, expected] of cases) assert.deepEqual(found(bytes), expected, what)
})

test('what is found does not depend on how the content is cut, nor on where in a long file it lies', () => {
  const secrets = [
    ed25519,
    PHRASE,
    WIF,
    TOKENS[1]![1],
    jpeg([exifSegment({ gps: [{ tag: 1, value: 'N' }] })]),
    pdf('/Author (J)'),
  ]
  const rng = seededRng(SEED)
  fc.assert(
    fc.property(fc.nat(secrets.length - 1), fc.nat(700_000), fc.integer({ min: 1, max: 300_000 }), (which, before, cut) => {
      const secret = secrets[which]!
      const bytes = typeof secret === 'string' ? utf8(secret) : secret
      const whole = concat(rng.bytes(before), Uint8Array.of(10), bytes, Uint8Array.of(10), rng.bytes(70_000))
      const expected = found(whole)
      if (which < 4) assert.equal(expected.length, 1)
      assert.deepEqual(found(whole, cut), expected)
    }),
    { seed: SEED, numRuns: 60 },
  )
  const small = concat(utf8('x'.repeat(100)), utf8(`\n${ed25519}\n${PHRASE}\n${WIF}`))
  for (const cut of [1, 2, 3, 7, 64]) assert.deepEqual(found(small, cut), ['private-key:refused', 'wallet:refused'])
})

test('a file full of marks that mean nothing takes bounded time, and says that not all were looked at', () => {
  const many = utf8('Exif\0\0II*\0'.repeat(20_000))
  assert.deepEqual(found(many), ['not-all-seen:flagged'])
})

test('the words and checks are the published ones', () => {
  const list = `${MNEMONIC_WORDS.join('\n')}\n`
  assert.equal(
    createHash('sha256').update(list).digest('hex'),
    '2f5eed53a4727b4bf8880d8f3f199efc90e58503646d9ff8eff3a2ed3b24dbda',
  )
  // BIP 39's vectors (trezor/python-mnemonic, vectors.json).
  for (const phrase of [
    `${'abandon '.repeat(11)}about`,
    `${'zoo '.repeat(11)}wrong`,
    `${'letter advice cage absurd amount doctor acoustic avoid '.repeat(3).split(' ').slice(0, 17).join(' ')} always`,
    PHRASE,
  ]) {
    assert.equal(isPhrase(phrase.split(' ').map((one) => MNEMONIC_WORDS.indexOf(one))), true, phrase)
  }
  assert.equal(isImportKey(WIF), true)
  assert.equal(isImportKey('KwdMAjGmerYanjeui5SHS7JkmpZvVipYvB2LJGU1ZxJwYvP98617'), true)
  assert.equal(isBase58Check('1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2'), true)
  for (const bad of ['', '1', '0OIl', `${WIF}1`, WIF.toLowerCase(), 'z'.repeat(200)]) assert.equal(isImportKey(bad), false)
})
