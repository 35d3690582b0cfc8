// A person who logs in where a client sends them.
//
// It is started with one argument, JSON: authorization_url, redirect_url, and person, the name of
// the user. It prints {callback}: the URL to which the provider sends the browser back.
import { Person } from './person.mjs';

const options = JSON.parse(process.argv[2]);
const person = new Person(options.person);
const callback = await person.authorize(options.authorization_url, options.redirect_url);
process.stdout.write(`${JSON.stringify({ callback })}\n`);
