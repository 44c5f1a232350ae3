/**
 * Requests to proxies and API that try to get out, to be read in two ways, or to reach what they should not: as bytes, with what may come back.
 * Used in one process (`proxy-hostile.test.ts`) and against real nodes (`proxy-leak.test.ts`).
 */
export interface Hostile {
  readonly name: string
  readonly to: 'proxy' | 'socks' | 'api'
  /** Latin-1. */
  readonly bytes: string
  /** Status codes (HTTP) or reply codes (SOCKS) that may be answered, in order of their coming. Empty: an end without a word. */
  readonly answers: readonly number[]
}

const CRLF = '\r\n'

/** The list. `file`: an address that is published; `live`: one of a live service; `face`: the API's host with its port, and token. */
export function hostileRequests(
  file: string,
  live: string,
  face: { readonly host: string; readonly token: string },
): readonly Hostile[] {
  const gyre = `${file}.gyre`
  const service = `${live}.gyre`
  const list: Hostile[] = []
  const add = (name: string, bytes: string, ...answers: number[]) => list.push({ name, to: 'proxy', bytes, answers })
  const head = (method: string, target: string, host: string, ...more: string[]) =>
    [`${method} ${target} HTTP/1.1`, `Host: ${host}`, ...more, 'Connection: close', '', ''].join(CRLF)
  const get = (target: string, host: string, ...more: string[]) => head('GET', target, host, ...more)

  for (const [name, host] of [
    ['a name of the internet', 'example.org'],
    ['with its port', 'example.org:80'],
    ['in capitals', 'EXAMPLE.ORG'],
    ['with a trailing dot', 'example.org.'],
    ['IPv4', '93.184.216.34'],
    ['IPv4, loopback, API', '127.0.0.1:9770'],
    ['IPv4, one number', '2130706433'],
    ['IPv4, octal', '0177.0.0.1'],
    ['IPv4, hexadecimal', '0x7f000001'],
    ['IPv4, short', '127.1'],
    ['IPv4, any', '0.0.0.0'],
    ['IPv4, virtual', '198.18.0.1'],
    ['IPv6', '[2606:2800:220:1:248:1893:25c8:1946]'],
    ['IPv6, loopback', '[::1]:9770'],
    ['IPv6, mapped', '[::ffff:127.0.0.1]'],
    ['IPv6 with a zone', '[fe80::1%25eth0]'],
    ['localhost', 'localhost'],
    ['localhost in capitals', 'LOCALHOST:9770'],
    ['metadata of a cloud', '169.254.169.254'],
    ['an onion', 'duckduckgogg42xjoc72x3sjasowoarfbgcmvfimaftt6twagswzczad.onion'],
    ['mDNS', 'printer.local'],
    ['gyre in front', `${gyre}.example.org`],
    ['gyre in the middle', `x.gyre.evil.com`],
    ['gyre as another ending', `${file}.gyrex`],
    ['gyre after a hyphen', `example-gyre`],
    ['encoded letters', '%65xample.org'],
    ['an encoded dot', `${file}%2egyre.org`],
  ] as const)
    add(name, get(`http://${host}/`, host), 403)

  for (const [name, host] of [
    ['a trailing dot', `${gyre}.`],
    ['two trailing dots', `${gyre}..`],
    ['a sub-domain', `www.${gyre}`],
    ['capitals', gyre.toUpperCase()],
    ['a user', `user@${gyre}`],
    ['a user and a password', `user:pw@${gyre}`],
    ['another host as user', `example.org@${gyre}`],
    ['an encoded slash as user', `example.org%2f@${gyre}`],
    ['port 0', `${gyre}:0`],
    ['a port too high', `${gyre}:65536`],
    ['a port with a zero in front', `${gyre}:080`],
    ['an empty port', `${gyre}:`],
    ['punycode', 'xn--gyre-9ka.gyre'],
    ['letters of other scripts', '\xd0\xb5xample.gyre'],
    ['an empty label', '.gyre'],
    ['the domain alone', 'gyre'],
    ['a backslash before a user', `example.org\\@${gyre}`],
  ] as const)
    add(name, get(`http://${host}/`, host), 400)

  add('a port where a file is not', get(`http://${gyre}:8080/`, `${gyre}:8080`), 403)
  add('gyre in a fragment', get('http://evil.com#.gyre', 'evil.com'), 400)
  add('a user in a fragment', get(`http://example.org#@${gyre}/`, gyre), 400)
  add('gyre in a query', get('http://evil.com?.gyre', 'evil.com'), 403)
  add('gyre in a path', get(`http://example.org/${gyre}`, gyre), 403)
  add('a backslash for a slash', get(`http://example.org\\.gyre/`, gyre), 400)
  add('backslashes all over', get(`http:\\\\example.org\\`, gyre), 400)
  add('https', get('https://example.org/', 'example.org'), 403)
  add('https to a file', get(`https://${gyre}/`, gyre), 403)
  add('ftp', get('ftp://example.org/', 'example.org'), 403)
  add('a file of this machine', get('file:///etc/passwd', ''), 403)
  add('gopher', get('gopher://127.0.0.1:25/_HELO', '127.0.0.1'), 403)
  add('no scheme', get('//example.org/', 'example.org'), 403)
  add('no slashes', get('http:example.org', 'example.org'), 400)
  add('no host', get('http:///example.org/', 'example.org'), 403)
  add('origin form', get('/', 'example.org'), 403)
  add('origin form under a name of the network', get('/', gyre), 403)
  add('asterisk form', head('OPTIONS', '*', 'example.org'), 403)
  add('a tab in the target', get(`http://example.org\t.gyre/`, gyre), 400)
  add('a NUL in the target', get(`http://${gyre}/\0`, gyre), 400)
  add('spaces in the target', get(`http://${gyre}/ http://example.org/`, gyre), 400)
  add('another Host', get(`http://${gyre}/`, 'example.org'), 400)
  add('another Host, of an address', get(`http://${gyre}/`, '127.0.0.1:9770'), 400)
  add('an empty Host', get(`http://${gyre}/`, ''), 400)
  add('a list for a Host', get(`http://${gyre}/`, `${gyre}, example.org`), 400)
  add('two Hosts', get(`http://${gyre}/`, gyre, 'Host: example.org'), 400)
  add('no Host', `GET http://${gyre}/ HTTP/1.0${CRLF}${CRLF}`, 400)
  add('X-Forwarded-Host to a file', get(`http://${gyre}/`, gyre, 'X-Forwarded-Host: example.org'), 200)
  add('a page of the internet', get(`http://${gyre}/`, gyre, 'Origin: https://example.org'), 403)
  add(
    'a user of two kinds',
    get(`http://${gyre}/`, gyre, 'Proxy-Authorization: Basic YTpi', 'Proxy-Authorization: Basic YzpK'),
    400,
  )

  const post = (...lines: string[]) => [`POST http://${service}/ HTTP/1.1`, `Host: ${service}`, ...lines].join(CRLF)
  const hidden = `GET http://example.org/ HTTP/1.1${CRLF}Host: example.org${CRLF}${CRLF}`
  add('length and chunks', post('Content-Length: 4', 'Transfer-Encoding: chunked', '', `0${CRLF}${CRLF}${hidden}`), 400)
  add('chunks and length', post('Transfer-Encoding: chunked', 'Content-Length: 4', '', `0${CRLF}${CRLF}${hidden}`), 400)
  add('two lengths', post('Content-Length: 4', 'Content-Length: 40', '', hidden), 400)
  add('a length of two numbers', post('Content-Length: 4, 40', '', hidden), 400)
  add('a negative length', post('Content-Length: -1', '', hidden), 400)
  add('a length with a sign', post('Content-Length: +4', '', hidden), 400)
  add('an unknown coding', post('Transfer-Encoding: xchunked', '', hidden), 400)
  add('two codings', post('Transfer-Encoding: gzip, chunked', '', `0${CRLF}${CRLF}${hidden}`), 400)
  add(
    'two lines of codings',
    post('Transfer-Encoding: chunked', 'Transfer-Encoding: identity', '', `0${CRLF}${CRLF}${hidden}`),
    400,
  )
  add('a space before a colon', post('Transfer-Encoding : chunked', '', hidden), 400)
  add('a folded line', post('X: a', ' Transfer-Encoding: chunked', 'Transfer-Encoding:', ' xchunked', '', hidden), 400)
  add('a chunk of no size', post('Transfer-Encoding: chunked', '', `zz${CRLF}${hidden}`), 400)
  add('bare line feeds', `GET http://${gyre}/ HTTP/1.1\nHost: ${gyre}\n\n`, 400)
  add('a bare carriage return', get(`http://${gyre}/`, gyre, `X: a\rHost: example.org`), 400)
  add('a NUL in a header', get(`http://${gyre}/`, gyre, 'X: a\0b'), 400)
  add('a header without a name', get(`http://${gyre}/`, gyre, ': x'), 400)
  add('a head too large', get(`http://${gyre}/`, gyre, `X: ${'a'.repeat(20_000)}`), 431)
  add('too many headers', get(`http://${gyre}/`, gyre, ...Array.from({ length: 200 }, (_, at) => `X-${at}: 1`)), 431)
  add('a target too large', get(`http://${'a'.repeat(20_000)}.gyre/`, gyre), 431)
  add(
    'a second request behind the first',
    get(`http://${gyre}/`, gyre).replace('close', 'keep-alive') + get('http://example.org/', 'example.org'),
    200,
    403,
  )
  add('an expectation', get(`http://example.org/`, 'example.org', 'Expect: 200-maybe'), 403, 417)
  add(
    'h2c',
    get('http://example.org/', 'example.org', 'Upgrade: h2c', 'HTTP2-Settings: AAMAAABk').replace(
      'close',
      'Upgrade, HTTP2-Settings',
    ),
    403,
  )
  add('a WebSocket', get('http://example.org/', 'example.org', 'Upgrade: websocket').replace('close', 'Upgrade'), 403)
  add('HTTP/2', `PRI * HTTP/2.0${CRLF}${CRLF}SM${CRLF}${CRLF}`, 400)
  add('TLS', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 400)
  add('SOCKS4 to the HTTP proxy', '\x04\x01\x00\x50\x5d\xb8\xd8\x22\x00', 400)
  add('SOCKS5 to the HTTP proxy', '\x05\x01\x00\x05\x01\x00\x01\x5d\xb8\xd8\x22\x00\x50\r\n', 400)

  const tunnel = (target: string) => `CONNECT ${target} HTTP/1.1${CRLF}Host: ${target}${CRLF}${CRLF}\x16\x03\x01`
  for (const target of [
    'example.org:443',
    '93.184.216.34:25',
    '127.0.0.1:22',
    '[::1]:22',
    'localhost:22',
    `${gyre}.example.org:443`,
    'example.org',
    '0x7f.1:80',
  ])
    add(`CONNECT ${target}`, tunnel(target), 403)
  for (const target of [`user@${service}:22`, service, `${service}:0`, `${service}.:22`, `${service.toUpperCase()}:22`])
    add(`CONNECT, badly spelled: ${target.replace(file, 'F').replace(live, 'L')}`, tunnel(target), 400)
  add('CONNECT to another port of a file', tunnel(`${gyre}:443`), 403)
  add('CONNECT with a URL', tunnel(`http://${service}/`), 400, 403)

  const socks = (name: string, bytes: string, ...answers: number[]) =>
    list.push({ name: `SOCKS: ${name}`, to: 'socks', bytes, answers })
  const ask = (command: number, type: string, port = 80) =>
    `\x05\x01\x00\x05${String.fromCharCode(command)}\x00${type}${String.fromCharCode(port >> 8, port & 255)}`
  const named = (name: string) => `\x03${String.fromCharCode(name.length)}${name}`
  for (const host of [
    'example.org',
    'localhost',
    '127.0.0.1',
    '::1',
    '2130706433',
    `${gyre}.example.org`,
    `${gyre}\0example.org`,
    'example.org.',
    '',
  ])
    socks(JSON.stringify(host.replace(file, 'F')), ask(1, named(host)), 2)
  for (const host of [`${gyre}.`, gyre.toUpperCase(), `www.${gyre}`, `user@${gyre}`, 'nobody.gyre', 'xn--a.gyre'])
    socks(host.replace(file, 'F'), ask(1, named(host)), 4)
  socks('IPv4', ask(1, '\x01\x5d\xb8\xd8\x22'), 2)
  socks('loopback', ask(1, '\x01\x7f\x00\x00\x01', 9770), 2)
  socks('a virtual address of nobody', ask(1, '\x01\xc6\x12\x77\x77'), 4)
  socks('IPv6', ask(1, `\x04${'\0'.repeat(15)}\x01`), 8)
  socks('BIND', ask(2, named(service)), 7)
  socks('UDP', ask(3, named(service)), 7)
  socks('RESOLVE of the internet', ask(0xf0, named('example.org')), 2)
  socks('RESOLVE_PTR', ask(0xf1, '\x01\x5d\xb8\xd8\x22'), 7)
  socks('version 4', '\x04\x01\x00\x50\x5d\xb8\xd8\x22user\0')
  socks('version 4a', '\x04\x01\x00\x50\x00\x00\x00\x01user\0example.org\0')
  socks('HTTP', get('http://example.org/', 'example.org'))
  socks('TLS', '\x16\x03\x01\x02\x00\x01')
  socks('no method that we have', '\x05\x01\x01')

  const api = (name: string, line: string, body: string | null, ...answers: number[]) => {
    const more = body === null ? [] : ['Content-Type: application/json', `Content-Length: ${body.length}`]
    const lines = [`${line} HTTP/1.1`, `Host: ${face.host}`, `Authorization: Bearer ${face.token}`, ...more, 'Connection: close']
    list.push({ name: `API: ${name}`, to: 'api', bytes: [...lines, '', body ?? ''].join(CRLF), answers })
  }
  const json = (value: object) => JSON.stringify(value)
  for (const from of ['example.org', '93.184.216.34', '127.0.0.1:9770', 'http:%2f%2fexample.org%2f', 'localhost', `www.${gyre}`])
    api(`a fetch of ${from.replace(file, 'F')}`, `GET /v1/fetch/${from}`, null, 400)
  api('a fetch of a name of nobody', 'GET /v1/fetch/example', null, 400, 404)
  api('a fetch that goes on elsewhere', `GET /v1/fetch/${file}/http://example.org/`, null, 404)
  api('absolute form', 'GET http://example.org/v1/status', null, 403)
  api('absolute form with a user', `GET http://${face.host}@example.org/v1/status`, null, 403)
  api('absolute form of an address', 'GET http://93.184.216.34/', null, 403)
  api('CONNECT', 'CONNECT example.org:443', null)
  api('a name for the internet', 'PUT /v1/names/example', json({ address: 'example.org' }), 400)
  api('a name for a URL', 'PUT /v1/names/example', json({ address: 'http://93.184.216.34/' }), 400)
  api('a target that is a URL', 'POST /v1/services', json({ name: 'x', target: 'http://example.org/', port: 80 }), 400)
  api('a target without a port', 'POST /v1/services', json({ name: 'x', target: 'example.org', port: 80 }), 400)
  api('to keep what is elsewhere', 'PUT /v1/keeps/example.org', null, 400)
  api('a receipt of what is elsewhere', 'GET /v1/receipts/example.org', null, 400)
  return list
}

/** The codes in what came back. */
export function answerCodes(to: Hostile['to'], answer: string): readonly number[] {
  if (to !== 'socks') return [...answer.matchAll(/^HTTP\/1\.[01] (\d{3})/gm)].map(([, status]) => Number(status))
  return answer.startsWith('\x05\x00\x05') ? [answer.charCodeAt(3)] : []
}
