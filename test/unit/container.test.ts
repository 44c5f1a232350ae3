/**
 * Dockerfile and docker-compose.yml without a Docker engine: the compose file against the parts of the Compose Specification's JSON
 * schema that it may use (anything else is an error), its references, ports and volumes, and each container's settings through the
 * node's own configuration; the Dockerfile's instructions and paths; what the builder is sent.
 */
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse as parseYaml } from 'yaml'
import { type Config, loadConfig } from '../../src/config/index.ts'

const ROOT = join(import.meta.dirname, '..', '..')
const read = (path: string) => readFileSync(join(ROOT, path), 'utf8')

// A JSON schema, as far as the file needs one.
interface Schema {
  readonly type?: 'object' | 'array' | 'string' | 'boolean' | 'integer' | 'null'
  readonly properties?: Readonly<Record<string, Schema>>
  readonly patternProperties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly uniqueItems?: boolean
  readonly pattern?: string
  readonly enum?: readonly unknown[]
  readonly oneOf?: readonly Schema[]
  /** An extension of our own: not looked into. */
  readonly anything?: true
}

/** What is wrong, each with its path. Properties that the schema does not name are wrong. */
function faults(value: unknown, schema: Schema, path = ''): string[] {
  if (schema.anything === true) return []
  if (schema.oneOf !== undefined) {
    const fits = schema.oneOf.filter((each) => faults(value, each, path).length === 0)
    return fits.length === 1 ? [] : [`${path}: fits ${fits.length} of the forms`]
  }
  const type = value === null ? 'null' : Array.isArray(value) ? 'array' : Number.isInteger(value) ? 'integer' : typeof value
  if (schema.type !== undefined && type !== schema.type) return [`${path}: ${type}, not ${schema.type}`]
  const found: string[] = []
  if (schema.enum !== undefined && !schema.enum.includes(value)) found.push(`${path}: not one of the values`)
  if (typeof value === 'string' && schema.pattern !== undefined && !new RegExp(schema.pattern).test(value)) {
    found.push(`${path}: "${value}" does not match ${schema.pattern}`)
  }
  if (Array.isArray(value)) {
    value.forEach(
      (item, at) => void found.push(...(schema.items === undefined ? [] : faults(item, schema.items, `${path}[${at}]`))),
    )
    if (schema.uniqueItems === true && new Set(value.map((item) => JSON.stringify(item))).size < value.length) {
      found.push(`${path}: the same item twice`)
    }
  } else if (typeof value === 'object' && value !== null) {
    for (const name of schema.required ?? []) if (!Object.hasOwn(value, name)) found.push(`${path}: no ${name}`)
    for (const [name, item] of Object.entries(value)) {
      const pattern = Object.keys(schema.patternProperties ?? {}).find((each) => new RegExp(each).test(name))
      const inner = schema.properties?.[name] ?? (pattern === undefined ? undefined : schema.patternProperties![pattern])
      found.push(...(inner === undefined ? [`${path}/${name}: unknown`] : faults(item, inner, `${path}/${name}`)))
    }
  }
  return found
}

const text: Schema = { type: 'string' }
const texts: Schema = { type: 'array', items: text, uniqueItems: true }
const duration: Schema = { type: 'string', pattern: '^(\\d+(h|m|s|ms))+$' }
const NAME = '^[a-zA-Z0-9._-]+$'

/**
 * The keys that the file may use, written after compose-spec.json of the Compose Specification and stricter: fewer keys, fewer forms.
 */
const COMPOSE: Schema = {
  type: 'object',
  required: ['services'],
  properties: {
    services: {
      type: 'object',
      patternProperties: {
        [NAME]: {
          type: 'object',
          required: ['image'],
          properties: {
            build: { oneOf: [text, { type: 'object', properties: { context: text, dockerfile: text } }] },
            image: text,
            init: { type: 'boolean' },
            restart: { type: 'string', pattern: '^(no|always|unless-stopped|on-failure(:\\d+)?)$' },
            read_only: { type: 'boolean' },
            tmpfs: { oneOf: [text, texts] },
            cap_drop: texts,
            security_opt: texts,
            stop_grace_period: duration,
            environment: {
              type: 'object',
              patternProperties: { '.+': { oneOf: [text, { type: 'integer' }, { type: 'boolean' }, { type: 'null' }] } },
            },
            healthcheck: {
              type: 'object',
              required: ['test'],
              properties: {
                test: { oneOf: [text, { type: 'array', items: text }] },
                interval: duration,
                timeout: duration,
                start_period: duration,
                retries: { type: 'integer' },
              },
            },
            depends_on: { oneOf: [texts, { type: 'object' }] },
            volumes: { type: 'array', items: { type: 'string', pattern: '^[a-z0-9]+:/[a-z]+(:ro)?$' }, uniqueItems: true },
            ports: {
              type: 'array',
              items: { type: 'string', pattern: '^127\\.0\\.0\\.1:\\d+:\\d+$' }, // never to other machines
              uniqueItems: true,
            },
            networks: {
              type: 'object',
              patternProperties: {
                [NAME]: { type: 'object', properties: { ipv4_address: { type: 'string', pattern: '^[\\d.]+$' } } },
              },
            },
          },
        },
      },
    },
    networks: {
      type: 'object',
      patternProperties: {
        [NAME]: {
          type: 'object',
          properties: {
            ipam: {
              type: 'object',
              properties: { config: { type: 'array', items: { type: 'object', properties: { subnet: text } } } },
            },
          },
        },
      },
    },
    volumes: { type: 'object', patternProperties: { [NAME]: { type: 'object', properties: {} } } },
  },
  patternProperties: { '^x-': { anything: true } },
}

interface Service {
  readonly environment: Readonly<Record<string, string>>
  readonly volumes: readonly string[]
  readonly ports: readonly string[]
  readonly depends_on?: readonly string[]
  readonly networks: Readonly<Record<string, { readonly ipv4_address: string }>>
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly read_only: boolean
  readonly cap_drop: readonly string[]
}
interface Compose {
  readonly services: Readonly<Record<string, Service>>
  readonly networks: Readonly<Record<string, { readonly ipam: { readonly config: readonly { readonly subnet: string }[] } }>>
  readonly volumes: Readonly<Record<string, unknown>>
}

const raw: unknown = parseYaml(read('docker-compose.yml'), { merge: true, strict: true, uniqueKeys: true })
const compose = raw as Compose
const services = Object.entries(compose.services)
const dockerfile = instructionsOf(read('Dockerfile'))

/** The instructions of a Dockerfile, without comments, continued lines joined. */
function instructionsOf(file: string): { readonly name: string; readonly rest: string }[] {
  const lines = file
    .replace(/^\s*#.*\n/gm, '')
    .replace(/\\\n\s*/g, ' ')
    .split('\n')
  return lines
    .filter((line) => line.trim() !== '')
    .map((line) => ({ name: line.split(/\s+/, 1)[0]!, rest: line.replace(/^\S+\s+/, '').trim() }))
}

function all(name: string): string[] {
  return dockerfile.filter((each) => each.name === name).map(({ rest }) => rest)
}

/** The image's environment, with `over` on it. */
function environment(over: Readonly<Record<string, string>>): Record<string, string> {
  const image = all('ENV').flatMap((rest) => rest.split(/\s+/).map((pair) => pair.split('=', 2) as [string, string]))
  return { ...Object.fromEntries(image), ...over }
}

function configOf(service: Service): Config {
  return loadConfig({ flags: {}, env: environment(service.environment), home: '/nowhere', cwd: '/gyre' })
}

test('the compose file keeps to the schema', () => {
  assert.deepEqual(faults(raw, COMPOSE), [])
})

test('the checker finds what is wrong', () => {
  const wrong: readonly (readonly [path: readonly string[], value: unknown])[] = [
    [['services', 'node1', 'port'], []],
    [['services', 'node1', 'ports'], ['0.0.0.0:9771:9771']],
    [['services', 'node1', 'read_only'], 'yes'],
    [['services', 'node1', 'stop_grace_period'], '10'],
    [['services', 'node1', 'image'], 7],
    [
      ['services', 'node1', 'cap_drop'],
      ['ALL', 'ALL'],
    ],
    [['services', 'node1', 'healthcheck'], {}],
    [['version'], '3'],
  ]
  for (const [path, value] of wrong) {
    const copy = structuredClone(raw) as Record<string, unknown>
    let at = copy
    for (const step of path.slice(0, -1)) at = at[step] as Record<string, unknown>
    at[path.at(-1)!] = value
    assert.equal(faults(copy, COMPOSE).length, 1, path.join('.'))
  }
})

test('there are eight nodes, each with names, volumes, addresses and ports of its own', () => {
  assert.deepEqual(
    services.map(([name]) => name),
    Array.from({ length: 8 }, (_, at) => `node${at}`),
  )
  const unique = (values: readonly string[]) => assert.equal(new Set(values).size, values.length)
  unique(services.flatMap(([, { ports }]) => ports))
  unique(services.map(([, { networks }]) => networks.web!.ipv4_address))
  unique(services.map(([, { volumes }]) => volumes.find((each) => each.endsWith(':/data'))!))
  const mounted = new Set(services.flatMap(([, { volumes }]) => volumes.map((each) => each.split(':')[0]!)))
  assert.deepEqual([...mounted].sort(), Object.keys(compose.volumes).sort())
  const subnet = compose.networks.web!.ipam.config[0]!.subnet
  assert.match(subnet, /\.0\/24$/)
  for (const [name, service] of services) {
    assert.deepEqual(Object.keys(service.networks), Object.keys(compose.networks))
    assert.ok(service.networks.web!.ipv4_address.startsWith(subnet.slice(0, -'0/24'.length)), name)
    for (const other of service.depends_on ?? []) assert.ok(Object.hasOwn(compose.services, other), name)
    assert.ok(service.read_only && service.cap_drop.includes('ALL'), name)
  }
})

test("every node's settings are a valid configuration, and its published ports are its faces'", () => {
  for (const [name, service] of services) {
    const config = configOf(service)
    assert.equal(config.dataDir, '/data', name)
    assert.deepEqual(config.listen, ['/ip4/0.0.0.0/tcp/9740'], name)
    // Host and Origin checks name the port, so that it must be the same on both sides.
    const faces = [config.api, config.proxy].map((face) => {
      assert.ok('host' in face, name)
      const { host, port } = face
      assert.equal(host, '0.0.0.0', name)
      return `127.0.0.1:${port}:${port}`
    })
    assert.deepEqual(service.ports, faces, name)
    assert.equal(config.network, 'compose', name)
  }
})

test('the others learn the address of the bootstrap node from a volume that holds nothing else', () => {
  for (const [name, service] of services) {
    const config = configOf(service)
    const shared = service.volumes.filter((each) => !each.includes(':/data'))
    if (name === 'node0') {
      assert.deepEqual(config.bootstrap, [])
      assert.deepEqual(shared, ['addresses:/addresses'])
      assert.match(service.healthcheck!.test[1]!, /^cp \/data\/listen\.addrs \/addresses\/bootstrap\.addrs && /)
    } else {
      assert.deepEqual(config.bootstrap, ['file:/addresses/bootstrap.addrs'])
      assert.deepEqual(shared, ['addresses:/addresses:ro'])
      assert.deepEqual(service.depends_on, ['node0'])
    }
  }
})

test('no secret, token or node id is in the files', () => {
  for (const file of ['docker-compose.yml', 'Dockerfile']) {
    assert.doesNotMatch(read(file), /12D3KooW|[0-9a-f]{32}|SECRET|PASSWORD|PRIVATE|BEGIN /i, file)
  }
})

test('the image: pinned base, an unprivileged user, one data volume, a health check, the commands of the README', () => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
  assert.deepEqual(all('FROM'), [`node:${dependencies.node}-bookworm-slim`])
  assert.deepEqual(all('USER'), ['node'])
  assert.deepEqual(all('VOLUME'), ['/data'])
  assert.equal(all('HEALTHCHECK').length, 1)
  assert.match(all('HEALTHCHECK')[0]!, /\/v1\/health/)
  const runs = all('RUN')
  assert.equal(runs[0], 'npm ci --omit=dev')
  assert.match(runs[1]!, /^install -d .*\/data/)
  assert.equal(runs.length, 2)
  const known = [
    'FROM',
    'ENV',
    'WORKDIR',
    'COPY',
    'RUN',
    'USER',
    'VOLUME',
    'EXPOSE',
    'HEALTHCHECK',
    'STOPSIGNAL',
    'ENTRYPOINT',
    'CMD',
  ]
  for (const { name } of dockerfile) assert.ok(known.includes(name), name)
  const order = dockerfile.map(({ name }) => name)
  assert.ok(order.indexOf('USER') > order.lastIndexOf('RUN') && order.indexOf('USER') < order.indexOf('ENTRYPOINT'))
  const config = loadConfig({ flags: {}, env: environment({}), home: '/nowhere', cwd: '/gyre' })
  assert.ok('host' in config.api)
  assert.deepEqual([config.dataDir, config.api.host, config.proxy.host], ['/data', '127.0.0.1', '127.0.0.1'])
})

test('what the image copies exists, is sent to the builder, and is all that the program imports', () => {
  const sent = new Set(
    read('.dockerignore')
      .split('\n')
      .filter((line) => line.startsWith('!'))
      .map((line) => line.slice(1)),
  )
  assert.match(read('.dockerignore'), /^\*$/m)
  const copied = all('COPY').flatMap((rest) => rest.split(/\s+/).slice(0, -1))
  for (const path of copied) {
    assert.ok(existsSync(join(ROOT, path)), path)
    assert.ok(sent.has(path), path)
  }
  assert.deepEqual([...copied].sort(), [...sent].sort())
  const entry = (JSON.parse(all('ENTRYPOINT')[0]!) as string[]).at(-1)
  assert.ok(existsSync(join(ROOT, entry!)), entry)
})

test('the health checks are programs that Node can parse', () => {
  const image = JSON.parse(all('HEALTHCHECK')[0]!.replace(/^.*CMD /, '')) as string[]
  const compose0 = compose.services.node0!.healthcheck!.test[1]!
  const scripts = [image[2]!, /node -e "([^"]+)"/.exec(compose0)![1]!]
  for (const script of scripts) execFileSync(process.execPath, ['--check', '-'], { input: script })
})
