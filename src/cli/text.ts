// Numbers, times and names as a person reads them on a terminal. They stand in base, because the doctor's findings are such words too.
export * from '../base/text.js'
