/** The fast Fourier transform (Cooley and Tukey, radix 2, in place), for spectra of traffic. */

/** Power of each frequency from 0 to half the rate; `values` has a power of two of entries. */
export function powerSpectrum(values: Float64Array): Float64Array {
  const size = values.length
  if (size === 0 || (size & (size - 1)) !== 0) throw new Error(`${size} is no power of two`)
  const real = values.slice()
  const imaginary = new Float64Array(size)
  for (let at = 0, reversed = 0; at < size; at++) {
    if (at < reversed) {
      const held = real[at]!
      real[at] = real[reversed]!
      real[reversed] = held
    }
    let bit = size >> 1
    for (; bit > 0 && (reversed & bit) !== 0; bit >>= 1) reversed ^= bit
    reversed |= bit
  }
  for (let half = 1; half < size; half *= 2) {
    for (let group = 0; group < size; group += 2 * half) {
      for (let at = 0; at < half; at++) {
        const angle = (-Math.PI * at) / half
        const cosine = Math.cos(angle)
        const sine = Math.sin(angle)
        const low = group + at
        const high = low + half
        const partReal = real[high]! * cosine - imaginary[high]! * sine
        const partImaginary = real[high]! * sine + imaginary[high]! * cosine
        real[high] = real[low]! - partReal
        imaginary[high] = imaginary[low]! - partImaginary
        real[low]! += partReal
        imaginary[low]! += partImaginary
      }
    }
  }
  return Float64Array.from({ length: size / 2 + 1 }, (_, at) => real[at % size]! ** 2 + imaginary[at % size]! ** 2)
}
