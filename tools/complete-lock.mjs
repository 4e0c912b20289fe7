/**
 * Adds to frontend/package-lock.json the native packages of platforms other than the one that wrote it.
 *
 * npm leaves out optional packages that it could not see when it wrote the lock. `npm ci` then refuses the lock (npm 11) or leaves
 * out the very package that another system needs (npm 10: no bundler on macOS). Each missing one is added with the version that its
 * parent asks for and the platform that its name states; its integrity is checked by npm when it is there.
 *
 *     node tools/complete-lock.mjs [frontend/package-lock.json]
 */
import { readFileSync, writeFileSync } from 'node:fs'

const SYSTEMS = ['android', 'darwin', 'freebsd', 'linux', 'netbsd', 'openbsd', 'openharmony', 'sunos', 'aix', 'win32']
const PROCESSORS = ['arm64', 'arm', 'x64', 'ia32', 'loong64', 'mips64el', 'ppc64', 'riscv64', 's390x', 'wasm32']
const LIBRARIES = { gnu: 'glibc', gnueabihf: 'glibc', musl: 'musl', musleabihf: 'musl' }

/** The platform in a name like `@scope/binding-linux-arm64-musl`, or null when it names none. */
function platformOf(name) {
  const words = name.split('/').at(-1).split('-')
  const os = SYSTEMS.find((system) => words.includes(system))
  const cpu = PROCESSORS.find((processor) => words.includes(processor))
  const libc = os === 'linux' ? words.map((word) => LIBRARIES[word]).find(Boolean) : undefined
  if (!os && !cpu) return null
  return { ...(cpu && { cpu: [cpu] }), ...(libc && { libc: [libc] }), ...(os && { os: [os] }) }
}

const path = process.argv[2] ?? new URL('../frontend/package-lock.json', import.meta.url)
const lock = JSON.parse(readFileSync(path, 'utf8'))
const unknown = []
let added = 0
for (const [parent, { optionalDependencies = {}, dev }] of Object.entries({ ...lock.packages })) {
  for (const [name, version] of Object.entries(optionalDependencies)) {
    const places = [`${parent}/node_modules/${name}`, `node_modules/${name}`]
    if (places.some((place) => place in lock.packages)) continue
    const platform = platformOf(name)
    if (platform === null || !/^\d/.test(version)) {
      unknown.push(`${name}@${version} (wanted by ${parent})`)
      continue
    }
    const { cpu, ...rest } = platform
    lock.packages[`node_modules/${name}`] = { version, ...(cpu && { cpu }), ...(dev && { dev }), optional: true, ...rest }
    added += 1
  }
}
lock.packages = Object.fromEntries(Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en')))
writeFileSync(path, `${JSON.stringify(lock, null, 2)}\n`)
console.log(`added ${added} packages of other platforms`)
if (unknown.length > 0) console.log(`left out, their platform is not known: ${unknown.join(', ')}`)
